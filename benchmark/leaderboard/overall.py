"""All tasks together: one row a method, and no mean over missing cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.chance import estimate
from benchmark.comparison import Comparison, Rank
from benchmark.leaderboard.admissible import FAR_ABOVE, HIDING
from benchmark.leaderboard.ranking import Contender, ranking
from benchmark.leaderboard.rows import REFERENCES, Row
from benchmark.leaderboard.task_table import TaskTable
from benchmark.scores import Interval


@dataclass(frozen=True)
class OverallRow:
    """One method with one set of hyper-parameters over all tasks."""

    rank: Rank | None
    method: str
    label: str
    control: bool
    """Whether it never looks at the forget set."""
    scores: Mapping[str, float | None]
    """Headline forget score by task as it counts, for the tasks that have scores."""
    marks: Mapping[str, str]
    """By task: whether a run is above the budget on test, or so far above that it does not count."""
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
    def name(self) -> str:
        """The label, and whether it is a control."""
        return f"{self.label} (control)" if self.control else self.label

    @property
    def mark(self) -> str:
        """Of the mean: whether any of its cells does not count."""
        return "".join(mark for mark in (FAR_ABOVE, HIDING) if mark in self.marks.values())

    @property
    def is_reference(self) -> bool:
        """Whether it is a bracket rather than a method."""
        return self.method in REFERENCES


@dataclass(frozen=True)
class Overall:
    """The methods over all tasks."""

    rows: tuple[OverallRow, ...]
    """References, then the methods with a score on every task that has scores, best first, then the others."""
    comparisons: tuple[Comparison, ...]
    """Of every pair of methods that are ranked."""
    score_floor: float
    """Differences in mean score up to this are none: the mean of the tasks' own."""


def overall(tasks: Sequence[TaskTable]) -> Overall:
    """Sum up and rank."""
    cells = {(ranked.row.label, table.task): ranked.row for table in tasks for ranked in table.rows}
    scored = [table for table in tasks if table.unscored is None]
    summed = {
        label: _overall_row(tasks, {table.task: cells[label, table.task] for table in tasks if (label, table.task) in cells})
        for label in sorted({label for label, _ in cells})
    }
    brackets = sorted((row for row in summed.values() if row.is_reference), key=lambda row: REFERENCES.index(row.method))
    floor = sum(table.score_floor for table in scored) / len(scored) if scored else 0.0
    placed = ranking(
        (
            Contender(label, row.mean.value, row.flops, [cells[label, table.task].cells for table in scored])
            for label, row in summed.items()
            if not row.is_reference and row.mean is not None and row.flops is not None
        ),
        floor,
    )
    rest = [row for label, row in summed.items() if not row.is_reference and label not in placed.ranks]
    rest.sort(key=lambda row: (row.missing is not None, -(row.max_difference or 0.0), row.label))
    ranked = (replace(summed[label], rank=placed.ranks[label]) for label in placed.labels)
    return Overall((*brackets, *ranked, *rest), placed.comparisons, floor)


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
        control=some.control,
        scores=scored,
        marks={task: row.headline.mark if (row := cells.get(task)) is not None and row.headline is not None else "" for task in scored},
        mean=estimate([cells[task].cells for task in scored]) if scored and None not in scored.values() else None,
        documents_mean=_mean(by_kind["documents"]),
        domain_mean=_mean(by_kind["domain"]),
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
        elif row.lacks:
            told.append(f"{table.task}: {row.lacks}")
    return ", ".join(told) or None


def _score(row: Row | None) -> float | None:
    return None if row is None or row.score is None else row.score.value


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None
