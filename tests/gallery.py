"""The cheaters of `cheaters/`, and what the board makes of each: the README's table, from the published records.

    bench run --methods CHEATERS --plugin tests/cheaters --tasks arxiv --panel full --out results/lab/cheaters
    python tests/gallery.py

The first measures them again, with all names below, separated by commas, in the place of CHEATERS; the second writes the table.
"""

from __future__ import annotations

from pathlib import Path

from benchmark import registry, store
from benchmark.excerpt import replace_between
from benchmark.leaderboard import board, formats
from benchmark.leaderboard.flags import DISQUALIFYING, caught
from benchmark.leaderboard.markdown import table_text
from benchmark.leaderboard.rows import Row
from benchmark.leaderboard.section import Table
from benchmark.record import Record

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

HONEST = {"another-retraining": "no cheater: trained without the text, as the reference was, from another seed"}
"""What must be caught by nothing."""


def gallery() -> Table:
    """A row a cheater: its score as measured, what it counts for, and what catches it."""
    records = {record.spec.method: record for record in store.read_all(RECORDS)}
    (task,) = board(records.values()).tasks
    rows = {ranked.row.method: ranked.row for ranked in task.rows}
    lines = [(name, does, *_landed(rows[name], records[name])) for name, does in (HONEST | CHEATERS).items()]
    return Table("", ("cheater", "what it does", "scores", "counts as", "caught by"), tuple(lines), prose=True)


def _landed(row: Row, record: Record) -> tuple[str, str, str]:
    if row.headline is None:
        return formats.number(None), formats.number(None), f"refused: {record.reason}"
    assert row.headline.score is not None
    assert row.score is not None
    landed = formats.number(row.headline.score.value), formats.number(row.score.value) + row.headline.mark
    if not row.headline.step:
        return *landed, "no step within the budget is better than none"
    found = caught(record, registry.metrics(), separable=False)
    told = [f"{one.flag} ({one.by}): {one.told}" for one in found if one.flag in DISQUALIFYING]
    attacks = sum(one.flag == "membership" for one in found)
    told += [f"membership: {attacks} attacks"] if attacks else []
    told += [one.flag for one in found if one.flag not in DISQUALIFYING | {"membership"}]
    return *landed, "; ".join(told) or formats.number(None)


if __name__ == "__main__":
    registry.load_plugin(PLUGINS)
    replace_between(ROOT / "README.md", "cheaters", table_text(gallery()))
