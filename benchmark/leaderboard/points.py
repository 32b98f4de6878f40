"""The operating points of one row: each budget's, summed up over seeds."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from benchmark import registry, scores
from benchmark.chance import estimate
from benchmark.errors import InputError
from benchmark.leaderboard import admissible
from benchmark.leaderboard.flags import DISQUALIFYING, caught
from benchmark.record import Baseline, OperatingPoint, Panel, Record
from benchmark.scores import Interval, SeedCell


@dataclass(frozen=True)
class Point:
    """The operating point inside one utility budget, on the test half; means over seeds."""

    budget: float
    step: float
    score: Interval | None
    """Forget score as measured, with its interval."""
    counted: Interval | None
    """The same as it counts: runs far above the budget, or caught hiding the text, are no better than the untouched model."""
    damage: float
    """Utility damage on test: chosen on validation, so it may exceed the budget."""
    largest_damage: float
    """Of the runs."""
    hiding: bool
    """Whether a run that is a step here is not believed: it does not count, and there is no area under the curve."""

    @property
    def mark(self) -> str:
        """Whether a run does not count, or is above the budget."""
        return admissible.mark(self.largest_damage, self.budget, self.hiding)


def points(group: Sequence[Record], scored: bool) -> tuple[Point, ...]:
    """One a budget, of the records of one row, all of which are ok.

    Raises:
        InputError: a record lacks its operating points.
    """
    budgets = group[0].spec.protocol.budgets
    for record in group:
        if record.baseline is None or tuple(point.budget for point in record.operating_points) != budgets:
            raise InputError(
                f"record {record.spec.key()} ({record.spec.method} on {record.spec.task}) says ok but lacks its operating points;"
                " delete it and run again"
            )
    doubted = not_believed(group)
    return tuple(_point(group, index, scored, doubted) for index in range(len(budgets)))


def counted_cells(group: Sequence[Record], index: int, doubted: Set[str]) -> tuple[SeedCell, ...]:
    """The forget documents of each record at the operating point of one budget, as they count; `doubted` as of `not_believed`."""
    return tuple(
        admissible.counted(_seed_cell(record, point), test_damage(record, index), point.budget, record.spec.key() in doubted)
        for record in group
        for point in [record.operating_points[index]]
    )


def not_believed(group: Sequence[Record]) -> frozenset[str]:
    """Keys of the runs that were caught at the headline point, the only one that is looked into, and had moved from the target there.

    With them go the runs that were not looked into by the metric that caught another: what hides the text with one seed is not believed
    with the next until that is seen. A run caught at one strength is not believed at any.
    """
    middle = group[0].spec.protocol.budgets.index(group[0].spec.protocol.headline)
    moved = [record for record in group if record.operating_points[middle].step > 0]
    by = {record.spec.key(): _catching(record) for record in moved}
    catching = frozenset[str]().union(*by.values())
    return frozenset(
        record.spec.key()
        for record in moved
        if by[record.spec.key()] or not catching <= _measured(record.operating_points[middle].panel or {})
    )


def _catching(record: Record) -> frozenset[str]:
    """The metrics by which a run is caught with the text still inside."""
    found = caught(record, registry.metrics(), separable=False)
    return frozenset(one.by for one in found if one.flag in DISQUALIFYING)


def _measured(panel: Panel) -> frozenset[str]:
    return frozenset(name for name, value in panel.items() if value.agg_value is not None)


def _point(group: Sequence[Record], index: int, scored: bool, doubted: Set[str]) -> Point:
    chosen = [record.operating_points[index] for record in group]
    damages = [test_damage(record, index) for record in group]
    hiding = any(point.step > 0 and record.spec.key() in doubted for record, point in zip(group, chosen, strict=True))
    measured = tuple(_seed_cell(record, point) for record, point in zip(group, chosen, strict=True)) if scored else ()
    counted = counted_cells(group, index, doubted) if scored else ()
    score = estimate([measured]) if scored else None
    return Point(
        budget=chosen[0].budget,
        step=sum(point.step for point in chosen) / len(chosen),
        score=score,
        counted=score if counted == measured else estimate([counted]),
        damage=sum(damages) / len(damages),
        largest_damage=max(damages),
        hiding=hiding,
    )


def test_damage(record: Record, index: int) -> float:
    """Utility damage on test of the operating point of one budget."""
    baseline = _baseline(record)
    test = record.operating_points[index].test
    return scores.utility_damage(scores.means(test), scores.means(baseline.target_test), scores.means(baseline.reference_test))


def _seed_cell(record: Record, point: OperatingPoint) -> SeedCell:
    baseline = _baseline(record)
    return SeedCell(
        record.spec.target_seed, record.spec.seed, point.test["forget"], baseline.target_test["forget"], baseline.reference_test["forget"]
    )


def _baseline(record: Record) -> Baseline:
    assert record.baseline is not None  # held by points
    return record.baseline
