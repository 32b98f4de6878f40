"""How much depends on the hyper-parameters: of each method, its whole grid of settings and numbers of steps. Records in, table out.

A learning rate does not change along a run, so a run of many steps passes through what fewer steps would have given: the numbers of
steps are read off one trajectory. Judged on the validation half, as everything is that chooses.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.leaderboard import formats
from benchmark.leaderboard.section import Table
from benchmark.record import Record

STEPS = (5, 10, 20, 40, 60)
"""Numbers of steps that make up the grid with a method's settings."""


@dataclass(frozen=True)
class Point:
    """One setting after one number of steps, on one task."""

    inside: bool
    """Whether its utility damage is within the budget."""
    score: float
    """Forget score; 0 outside the budget, where a model is of no use."""


@dataclass(frozen=True)
class Robustness:
    """One method over its grid: means over tasks, each task's grid summed up by itself."""

    method: str
    tasks: int
    points: int
    """On all tasks together."""
    inside: float | None
    """Share of the points within the budget; this and the scores None where a cell failed or was declined."""
    best: float | None
    median: float | None


def robustness(records: Iterable[Record], budget: float, steps: Sequence[int] = STEPS) -> list[Robustness]:
    """A line for each method, the highest median first. Records without a forget score are left out.

    A point is the measured step nearest to, and not beyond, the number of steps asked for. Where a run diverged or was stopped,
    being past every budget, the numbers of steps that it did not reach count as outside; where a method ended of itself, having
    nothing left to do, they are no points.
    """
    grids: defaultdict[str, defaultdict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    broken: set[str] = set()
    for record in records:
        points = grids[record.spec.method][record.spec.task]
        if record.status in ("failed", "declined"):
            broken.add(record.spec.method)
        else:
            points += grid_points(record, budget, steps)
    lines = [_line(method, list(tasks.values()), method in broken) for method, tasks in grids.items()]
    return sorted(
        (line for line in lines if line.points or line.method in broken),
        key=lambda line: (line.median is None, -(line.median or 0), -(line.best or 0), line.method),
    )


def grid_points(record: Record, budget: float, steps: Sequence[int]) -> list[Point]:
    """The points that one run gives; none where there are no forget scores."""
    trajectory = record.trajectory
    if any(step.score is None for step in trajectory):
        return []
    lost = record.status == "diverged" or not trajectory or trajectory[-1].damage > max(record.spec.protocol.budgets)
    found = []
    for number in steps:
        if trajectory and number <= trajectory[-1].step:
            at = max((step for step in trajectory if step.step <= number), key=lambda step: step.step)
            inside = at.damage <= budget
            found.append(Point(inside, at.score if inside and at.score is not None else 0.0))
        elif lost:
            found.append(Point(False, 0.0))
    return found


def _line(method: str, tasks: Sequence[Sequence[Point]], broken: bool) -> Robustness:
    graded = [points for points in tasks if points]
    count = sum(map(len, graded))
    if broken or not graded:
        return Robustness(method, len(graded), count, None, None, None)

    def mean(values: Iterable[float]) -> float:
        return statistics.fmean(values)

    return Robustness(
        method,
        len(graded),
        count,
        mean(mean(point.inside for point in points) for points in graded),
        mean(max(point.score for point in points) for points in graded),
        mean(statistics.median(point.score for point in points) for points in graded),
    )


def caption(budget: float, steps: Sequence[int] = STEPS) -> str:
    """What the table shows, and how points without a score are treated."""
    numbers = ", ".join(map(str, steps))
    return (
        f"Robustness to hyper-parameters, on validation: every setting tried, after {numbers} steps (the measured step nearest to, and not"
        f" beyond, each). Inside: share of these points within {formats.budget(budget)} utility damage. A point outside counts as 0, a"
        " model of no use, in best and median; so does a number of steps that a run did not reach because it was past every budget."
    )


def table(lines: Sequence[Robustness], budget: float, steps: Sequence[int] = STEPS) -> Table:
    """As a table."""
    rows = tuple(
        (line.method, str(line.points), formats.percent(line.inside), formats.number(line.best), formats.number(line.median))
        for line in lines
    )
    return Table(caption(budget, steps), ("method", "points", "inside the budget", "best score", "median score"), rows)
