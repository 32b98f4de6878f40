"""The leaderboard as files and on a terminal: the same bytes for the same records."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table as TerminalTable
from rich.text import Text

from benchmark import store
from benchmark.excerpt import replace_between
from benchmark.leaderboard import Board, board, figures, formats
from benchmark.leaderboard.admissible import ABOVE, FAR_ABOVE, HIDING, INADMISSIBLE
from benchmark.leaderboard.document import overall_table, sections
from benchmark.leaderboard.export import to_csv, to_json
from benchmark.leaderboard.markdown import markdown, table_text
from benchmark.leaderboard.page import html
from benchmark.leaderboard.panel_export import panel_csv
from benchmark.leaderboard.recommendation import recommend

FIGURES = "figures"
"""Sub-folder of a run's folder that holds them."""

SWEEP = "sweep"
"""Sub-folder of a run's folder that `bench sweep` writes to."""


def publish(folder: Path) -> Board:
    """Write leaderboard.md, .csv, .json and .html and the figures from the records in `folder`, and from those of a sweep in it.

    Raises:
        InputError: the records cannot be read or cannot stand in one leaderboard, or a file cannot be written.
    """
    records = store.read_all(folder)
    built = board(records, store.read_all(folder / SWEEP))
    drawn = figures.draw(built)
    told = sections(built, recommend(records))
    files = {f"{FIGURES}/{name}": content for name, content in drawn.items()} | {
        "leaderboard.csv": to_csv(built).encode(),
        "leaderboard.json": to_json(built).encode(),
        "leaderboard.html": html(built.model, told, drawn).encode(),
        "leaderboard.md": markdown(built.model, told).encode(),
    }
    if built.panels:
        files["panel.csv"] = panel_csv(built).encode()
    for name, content in files.items():
        store.write_file(folder / name, content)
    return built


def put_into(page: Path, folder: Path) -> None:
    """Put the overall table of the records in `folder` into a Markdown page, between its marks named `board`.

    Raises:
        InputError: the records cannot be read, or the page has no such marks.
    """
    replace_between(page, "board", table_text(overall_table(board(store.read_all(folder)))))


def terminal_table(board: Board) -> TerminalTable:
    """The overall table, within 120 columns."""
    tasks = [table.task for table in board.scored_tasks]
    domain = any(table.removes == "domain" for table in board.tasks)
    missing = [f"{row.label}: {row.missing}" for row in board.overall if row.missing and not row.is_reference]
    notes = ["not ranked - " + "; ".join(missing)] if missing else []
    if any(mark for row in board.overall for mark in row.marks.values()):
        notes.append(
            f"{ABOVE} test damage above the budget  {FAR_ABOVE} above {INADMISSIBLE:g} times the budget, {HIDING} caught hiding the text:"
            " count as 0"
        )
    table = TerminalTable(
        title=f"{board.model}: forget score at {formats.budget(board.budget)} utility damage (1: never seen, 0: nothing forgotten)",
        caption=Text("\n".join(notes)) if notes else None,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("method", overflow="fold", min_width=18)
    if tasks:
        table.add_column("mean", justify="right", no_wrap=True)
        table.add_column("95 %\ninterval", justify="right", no_wrap=True)
    for task in tasks:
        table.add_column(Text(task.replace("-", "-\n")), justify="right")
    if domain:
        table.add_column("max\ndiff.", justify="right")
    table.add_column("FLOPs", justify="right", no_wrap=True)
    table.add_column("sec.", justify="right", no_wrap=True)
    for row in board.overall:
        cells = [formats.rank_interval(row.rank), row.name]
        if tasks:
            between = "" if row.mean is None or not row.mean.known else f"{formats.number(row.mean.low)} to {formats.number(row.mean.high)}"
            cells += [formats.number(row.mean and row.mean.value) + row.mark, between]
        cells += [formats.number(row.scores[task]) + row.marks[task] for task in tasks]
        cells += [formats.number(row.max_difference)] if domain else []
        cells += [formats.count(row.flops), formats.DASH if row.seconds is None else f"{row.seconds:,.0f}"]
        table.add_row(*(Text(cell) for cell in cells), style="dim" if row.rank is None else "")
    return table
