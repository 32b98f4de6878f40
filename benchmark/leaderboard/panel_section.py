"""What the document says of the panel: task by task, folded away, and over all tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from benchmark import registry
from benchmark.leaderboard import formats
from benchmark.leaderboard.difference import told_from_zero
from benchmark.leaderboard.flags import RULES
from benchmark.leaderboard.harm import DOMAIN, RISE, SIMILARITY
from benchmark.leaderboard.panel import PanelRow, Reading, TaskPanel
from benchmark.leaderboard.panel_summary import Summary, flagged, summaries
from benchmark.leaderboard.section import Fold, Section, Table
from benchmark.leaderboard.task_table import TaskTable
from benchmark.panel.membership import separable
from benchmark.panel.metric import Axis, Metric
from benchmark.record import MetricValue

if TYPE_CHECKING:
    from benchmark.leaderboard import Board

SHOWN: tuple[Axis | None, ...] = (*(axis for axis in get_args(Axis) if axis != "validity"), None)
"""Axes in the order of the tables; None: metrics that are not installed where the board is made."""

SAYS: Mapping[Axis | None, str] = {
    "forgetting": "Forgetting: how much of the forget set comes out",
    "privacy": "Privacy: can forget documents be told from documents that no model has seen",
    "utility": "Utility: what is left of the rest, and who paid",
    "robustness": "Robustness: is it gone, or only hidden",
    None: "Metrics that are not installed here",
}
OTHER = "≠"
ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}


def panel_folds(board: Board, table: TaskTable) -> tuple[Fold, ...]:
    """One task's panel, a table an axis; nothing where no metric was asked for."""
    panel = board.panel(table.task)
    if panel is None:
        return ()
    shown = [
        (formats.rank(ranked.rank), ranked.row.name, panel.rows[ranked.row.label])
        for ranked in table.rows
        if ranked.row.label in panel.rows
    ]
    tables = [_axis_table(panel, axis, shown) for axis in SHOWN if axis in panel.metrics.values()]
    return (
        Fold(
            f"Panel: {len(panel.metrics)} metrics at {formats.budget(board.budget)} damage",
            _task_facts(panel),
            (*tables, *_harm(shown), *_caught(shown)),
        ),
    )


_Shown = Sequence[tuple[str, str, PanelRow]]
"""Rank, name and panel of the rows of a task."""


def _task_facts(panel: TaskPanel) -> tuple[tuple[str, str], ...]:
    facts = [
        (
            "How to read",
            f"raw values on the test half, means over seeds; the right value is that of `retrained`. {formats.DASH}: no value, or not"
            f" measured on every target seed and with every seed. {OTHER}: other than the reference's, beyond the interval of the"
            " difference. ↑ and ↓: where a model lies that knows the forget set. `bench show METRIC` says more.",
        )
    ]
    blind = [name for name in panel.metrics if panel.gaps[name] is not None and name not in panel.scored]
    if told := [name for name in blind if _axis(panel, name) in ("forgetting", "privacy")]:
        facts.append(("No score", f"{', '.join(told)}: target and reference cannot be told apart by it here."))
    if panel.text:
        facts.append(("Validity", _validity(panel.text)))
    if panel.missing:
        facts.append(("Missing", f"{'; '.join(panel.missing)}."))
    return tuple(facts)


def _axis(panel: TaskPanel, name: str) -> Axis | None:
    return panel.metrics[name]


def _validity(text: Mapping[str, MetricValue]) -> str:
    apart = [name for name, value in text.items() if separable(value)]
    told = ", ".join(
        f"{name} {formats.number(value.agg_value)}{_between(value.interval)}" for name, value in text.items() if value.reason is None
    )
    reasons = {value.reason for value in text.values() if value.reason is not None}
    if apart:
        return f"membership rows say little: forget and holdout documents can be told apart without any model (AUC {told})."
    if not told:
        return f"whether the documents can be told apart without a model is not known: {'; '.join(sorted(reasons))}."
    return f"forget and holdout documents cannot be told apart without a model (AUC {told})."


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{formats.number(interval[0])}, {formats.number(interval[1])}]"


def _axis_table(panel: TaskPanel, axis: Axis | None, shown: _Shown) -> Table:
    names = [name for name, of in panel.metrics.items() if of == axis]
    cards = registry.metrics()
    rows = tuple((rank, name, *(_cell(row.panel[metric], cards.get(metric)) for metric in names)) for rank, name, row in shown)
    return Table(SAYS[axis], ("#", "method", *(_title(name, cards.get(name)) for name in names)), rows)


def _title(name: str, card: Metric | None) -> str:
    return name if card is None else f"{name}{ARROWS[card.knows]}"


def _cell(reading: Reading | None, card: Metric | None) -> str:
    if reading is None:
        return formats.DASH
    return _amount(reading.agg_value, card) + (OTHER if told_from_zero(reading.minus_reference_interval) else "")


def _amount(value: float, card: Metric | None) -> str:
    if card is not None and card.unit == "relative rise":
        return formats.percent(value)
    return formats.number(value, 4 if abs(value) < 0.1 else 3 if abs(value) < 10 else 1)


def _harm(shown: _Shown) -> tuple[Table, ...]:
    """Damage in its parts, by domain and by similarity."""
    tables = []
    for metric, caption in (
        (DOMAIN, "Perplexity rise by kept domain"),
        (SIMILARITY, "Perplexity rise by similarity of the kept documents to the forget set, in thirds"),
    ):
        found = [(rank, name, reading) for rank, name, row in shown if (reading := row.panel.get(metric)) is not None]
        parts = list(found[0][2].value_by_index) if found else []
        if parts:
            rows = tuple(
                (rank, name, *(formats.percent(reading.value_by_index[part][RISE]) for part in parts)) for rank, name, reading in found
            )
            tables.append(Table(caption, ("#", "method", *parts), rows))
    return tuple(tables)


def _caught(shown: _Shown) -> tuple[Table, ...]:
    rows = tuple((name, reason) for _, name, row in shown for reason in row.reasons)
    return (Table("Caught", ("method", "by what, run by run"), rows, prose=True),) if rows else ()


def panel_section(board: Board) -> tuple[Section, ...]:
    """The panel over all tasks; nothing where no metric was asked for."""
    if not board.panels:
        return ()
    labels = [row.label for row in board.overall]
    summed = summaries(board.panels, labels)
    tables = [_summary_table(board, axis, [summary for summary in summed if summary.axis == axis]) for axis in SHOWN]
    return (Section("The panel over all tasks", (*_summary_facts(), *RULES_FACTS), tuple(table for table in tables if table is not None)),)


RULES_FACTS = tuple((f"caught: {flag}", f"{rule}.") for flag, rule in RULES.items())


def _summary_facts() -> tuple[tuple[str, str], ...]:
    return (
        (
            "Forgetting, privacy",
            "1 - |m - m*| / |m0 - m*| of the metric's value m, on the reference m*, on the target m0: 1 as the reference, 0 as far from it"
            " as the target, below 0 further, on either side. In brackets the number of tasks that the mean is over: those where target"
            " and reference differ beyond the interval. No mean where a task is missing or was not measured on every target seed; metrics"
            " are not averaged with each other.",
        ),
        (
            "AUCs",
            "of a metric that is one, as most membership attacks are, 1 - |m - m*| / max(m*, 1 - m*): 1 as the reference, 0 as far from it"
            " as an AUC can be, on either side. The target is not in it, so that every task counts of which the reference has an AUC; what"
            " doing nothing gives stands in the row of `original`.",
        ),
        (
            "Utility, robustness",
            "the value less the reference's, in the metric's own unit; 0 is right. For relearning, below 0 is faster than a model that"
            " never knew the text.",
        ),
    )


def _summary_table(board: Board, axis: Axis | None, summed: Sequence[Summary]) -> Table | None:
    if not summed:
        return None
    cards = registry.metrics()
    header = ("#", "method", *(f"{summary.metric} ({len(summary.tasks)})" for summary in summed))
    rows = tuple(
        (formats.rank(row.rank), row.name, *(_summary_cell(summary, row.label, cards.get(summary.metric)) for summary in summed))
        for row in board.overall
    )
    return Table(SAYS[axis], header, rows)


def _summary_cell(summary: Summary, label: str, card: Metric | None) -> str:
    value = summary.means[label]
    if value is None:
        return formats.DASH
    if summary.shown == "score":
        return formats.number(value)
    told = _amount(value, card)
    return told if value <= 0 or not told.strip("0. %") else f"+{told}"


def caught_rule(board: Board) -> tuple[tuple[str, str], ...]:
    """What the overall table's column of that name says."""
    if not board.panels:
        return ()
    what = (
        "what is suspicious of a method, and on how many tasks, in at least half of those of its runs there in which it was looked for; the"
        " rules stand with the panel over all tasks, the numbers in the panel of each task."
    )
    return (("Caught", what),)


def caught_cell(board: Board, label: str) -> str:
    """What a method is caught by, and on how many tasks."""
    return ", ".join(f"{flag} {count}" for flag, count in flagged(board.panels, label).items()) or formats.DASH
