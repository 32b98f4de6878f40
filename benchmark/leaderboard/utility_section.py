"""What the document says of general utility."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.leaderboard import formats
from benchmark.leaderboard.section import Section, Table
from benchmark.leaderboard.utility import Gauge, UtilityTable

if TYPE_CHECKING:
    from benchmark.leaderboard import Board


def utility_section(board: Board) -> tuple[Section, ...]:
    """A table a metric, a row a method; nothing where no lm-eval task was asked for."""
    if not board.utility:
        return ()
    facts = [
        (
            "What this is",
            f"tasks of lm-eval, put to the models at the {formats.budget(board.budget)} point. Shown is the change against the target,"
            " with its standard error over items, which both models answered; the last column is the mean over tasks. The headline"
            " score does not use it, and no operating point was chosen by it.",
        )
    ]
    facts += [(table.title, _told(table)) for table in board.utility]
    return (Section("General utility", tuple(facts), tuple(_table(board, table) for table in board.utility if table.target is not None)),)


def _told(table: UtilityTable) -> str:
    parts = []
    if table.target is not None:
        value = formats.number(table.target.value, 3)
        error = "" if table.target.stderr is None else f" ± {formats.number(table.target.stderr, 3)}"
        better = {True: "higher is better", False: "lower is better", None: "lm-eval does not say which is better"}[table.higher_is_better]
        parts.append(f"the target has {value}{error} over {table.items:,} items; {better} (version {table.version})")
    parts += [f"missing for {reason}" for reason in table.missing]
    return f"{'; '.join(parts) or 'not measured'}."


def _table(board: Board, table: UtilityTable) -> Table:
    tasks = [each.task for each in board.tasks]
    rows = []
    for row in board.overall:
        gauges = [table.changes.get(row.label, {}).get(task) for task in tasks]
        changes = [gauge.change for gauge in gauges if gauge is not None and gauge.change is not None]
        mean = sum(changes) / len(changes) if len(changes) == len(tasks) else None
        rows.append((formats.rank(row.rank), row.name, *(_change(gauge) for gauge in gauges), _signed(mean)))
    return Table(f"{table.title}: change against the target", ("#", "method", *tasks, "mean"), tuple(rows))


def _change(gauge: Gauge | None) -> str:
    if gauge is None or gauge.change is None:
        return formats.DASH
    error = "" if gauge.change_stderr is None else f" ± {formats.number(gauge.change_stderr, 3)}"
    return f"{_signed(gauge.change)}{error}"


def _signed(value: float | None) -> str:
    told = formats.number(value, 3)
    return told if value is None or told.startswith("-") or float(told) == 0 else f"+{told}"
