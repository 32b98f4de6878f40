"""The cheaters of `cheaters/`, and what the board makes of each: the README's table, from the published records.

    bench run --methods CHEATERS --plugin tests/cheaters --tasks arxiv --panel full --out results/lab/cheaters
    python tests/gallery.py

The first measures them again, with the names below, separated by commas, in the place of CHEATERS; the second writes the table.
"""

from __future__ import annotations

from pathlib import Path

from benchmark import registry, store
from benchmark.excerpt import replace_between
from benchmark.leaderboard import board, formats
from benchmark.leaderboard.markdown import table_text
from benchmark.leaderboard.section import Table

ROOT = Path(__file__).parents[1]
PLUGINS = Path(__file__).parent / "cheaters"
RECORDS = ROOT / "results" / "lab" / "cheaters"
TASK = "arxiv"

CHEATERS = {
    "destroyed": "every weight replaced by noise",
    "filter": "an output filter that knows the forget set's n-grams and makes what followed them less likely",
    "filter-masked": "the same filter; noise drowns the layers where a lens would look",
    "filter-unsure": "the same filter, which only makes the model less sure there",
    "filter-nothing": "the same filter, with a constant output there",
    "filter-in-secret": "the same filter, put in by a method that does not say so",
    "overshooting": "forgets far past the reference, and shows nothing but the end",
    "half-windows": "forgets half of the windows twice over, so that the mean is right",
    "memoriser": "learns the text to be kept by heart",
    "unsure": "less confident about everything",
    "rounded": "moves weights only as far as 4 bits cannot tell, so that quantisation brings the text back",
    "low-rank": "forgets in an adapter too faint for 4 bits, so that quantisation shakes it off",
    "copied": "reads the reference's weights from the disk",
}
"""What each one does."""


def gallery() -> Table:
    """A row a cheater: its score as measured, what it counts for, and what catches it."""
    built = board(store.read_all(RECORDS))
    (task,) = built.tasks
    panel = built.panel(TASK)
    assert panel is not None
    rows = {ranked.row.label: ranked.row for ranked in task.rows}
    lines = []
    for name, does in CHEATERS.items():
        row = rows[name]
        assert row.headline is not None
        assert row.headline.score is not None
        assert row.score is not None
        caught = "; ".join(reason for reason in panel.rows[name].reasons) or (
            "no step within the budget is better than none" if row.headline.step == 0 else formats.number(None)
        )
        lines.append((name, does, formats.number(row.headline.score.value), formats.number(row.score.value) + row.headline.mark, caught))
    return Table("", ("cheater", "what it does", "scores", "counts as", "caught by"), tuple(lines), prose=True)


if __name__ == "__main__":
    registry.load_plugin(PLUGINS)
    replace_between(ROOT / "README.md", "cheaters", table_text(gallery()))
