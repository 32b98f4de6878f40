"""All tasks together: one row a method, and no mean over missing cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark import scores
from benchmark.leaderboard.ranking import Contender, rank
from benchmark.leaderboard.rows import REFERENCES, Row
from benchmark.leaderboard.task_table import TaskTable
from benchmark.scores import Interval


@dataclass(frozen=True)
class OverallRow:
    """One method with one set of hyper-parameters over all tasks."""

    rank: str | None
    method: str
    label: str
    scores: Mapping[str, float | None]
    """Headline forget score by task, for the tasks that have scores."""
    mean: Interval | None
    """Of all of them; None if any is missing."""
    documents_mean: float | None
    domain_mean: float | None
    max_difference: float | None
    """Mean over the domain tasks; None if any is missing."""
    flops: float | None
    """Total up to the headline points; None if any is missing."""
    seconds: float | None
    prepare_flops: float | None
    """Counted once, whatever the number of tasks."""
    missing: str | None
    """Which cells are missing, and why."""

    @property
    def is_reference(self) -> bool:
        """Whether it is a bracket rather than a method."""
        return self.method in REFERENCES


def overall(tasks: Sequence[TaskTable]) -> tuple[OverallRow, ...]:
    """References, then the methods with a score on every task that has scores, best first, then the others."""
    cells = {(ranked.row.label, table.task): ranked.row for table in tasks for ranked in table.rows}
    labels = sorted({label for label, _ in cells})
    summed = [
        _overall_row(tasks, {table.task: cells[label, table.task] for table in tasks if (label, table.task) in cells}) for label in labels
    ]
    brackets = sorted((row for row in summed if row.is_reference), key=lambda row: REFERENCES.index(row.method))
    contenders, rest = [], []
    for row in summed:
        if row.is_reference:
            continue
        if row.mean is not None and row.flops is not None:
            contenders.append(Contender(row.mean.value, row.flops, row.label, row))
        else:
            rest.append(row)
    rest.sort(key=lambda row: (row.missing is not None, -(row.max_difference or 0.0), row.label))
    return (*brackets, *(replace(row, rank=place) for place, row in rank(contenders)), *rest)


def _overall_row(tasks: Sequence[TaskTable], cells: Mapping[str, Row]) -> OverallRow:
    """Sum up one method's rows, given by task."""
    some = next(iter(cells.values()))
    scored = {table.task: _score(cells.get(table.task)) for table in tasks if table.unscored is None}
    by_kind = {
        kind: [scored[table.task] for table in tasks if table.removes == kind and table.task in scored] for kind in ("documents", "domain")
    }
    expenses = [row.expense for table in tasks if (row := cells.get(table.task)) is not None and row.expense is not None]
    complete = len(expenses) == len(tasks)
    domain = [row.max_difference if (row := cells.get(table.task)) else None for table in tasks if table.removes == "domain"]
    return OverallRow(
        rank=None,
        method=some.method,
        label=some.label,
        scores={task: score and score.value for task, score in scored.items()},
        mean=_mean_score(list(scored.values())),
        documents_mean=_value(_mean_score(by_kind["documents"])),
        domain_mean=_value(_mean_score(by_kind["domain"])),
        max_difference=_mean(domain),
        flops=sum(expense.flops for expense in expenses) if complete else None,
        seconds=sum(expense.seconds for expense in expenses) if complete else None,
        prepare_flops=max(expense.prepare_flops for expense in expenses) if complete else None,
        missing=_missing(tasks, cells),
    )


def _missing(tasks: Sequence[TaskTable], cells: Mapping[str, Row]) -> str | None:
    told = []
    for table in tasks:
        row = cells.get(table.task)
        if row is None:
            told.append(f"{table.task}: no record")
        elif row.status != "ok":
            told.append(f"{table.task}: {row.status}")
    return ", ".join(told) or None


def _score(row: Row | None) -> Interval | None:
    return None if row is None or row.headline is None else row.headline.score


def _value(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value


def _mean_score(intervals: Sequence[Interval | None]) -> Interval | None:
    present = [interval for interval in intervals if interval is not None]
    return scores.mean_interval(present) if present and len(present) == len(intervals) else None


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None
