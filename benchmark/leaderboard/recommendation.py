"""What to do about a removal request: the methods in order, and the first that can be handed over. A pure function of records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from benchmark import scores
from benchmark.comparison import score_floor
from benchmark.leaderboard.admissible import inadmissible
from benchmark.leaderboard.baselines import baselines, why_unscored
from benchmark.leaderboard.comparable import comparable
from benchmark.leaderboard.formats import DECIMALS
from benchmark.leaderboard.points import counted_cells, not_believed, test_damage
from benchmark.leaderboard.ranking import Contender, ranking
from benchmark.leaderboard.rows import Row, rows
from benchmark.record import Baseline, Record, Requested
from benchmark.scores import Interval


@dataclass(frozen=True)
class Candidate:
    """A method at its headline operating point, on the test half; means over seeds."""

    place: int
    """Shared by methods that cannot be told apart, where there are scores."""
    row: Row
    merit: Interval
    """Forget score; where there is none, relative top-1 drop on forget beyond any on retain."""
    step: float
    """0: no step was better than the untouched model."""
    damage: float
    nll: Mapping[str, float]
    """Mean token NLL by evaluation set."""
    inserts: bool
    """Whether it leaves a module in the model, which plain transformers cannot load."""

    @property
    def forgets(self) -> bool:
        """Whether it can be told from having done nothing, and shows as more than that."""
        return self.step > 0 and self.merit.low > 0 and round(self.merit.value, DECIMALS) > 0


@dataclass(frozen=True)
class Recommendation:
    """The methods tried on a removal request, best first, and which of them to take."""

    requested: Requested
    baseline: Baseline
    budget: float
    unscored: str | None
    """Why there are no forget scores, and the order is by the top-1 drop; None if there are."""
    candidates: tuple[Candidate, ...]
    failed: int
    """Methods that gave no result: failed, diverged or declined."""
    elsewhere: tuple[tuple[float, str, float], ...]
    """At each other budget: it, the best method, its merit."""

    @property
    def chosen(self) -> Candidate | None:
        """The first that forgets and can be handed over as an ordinary model; None if none does."""
        return next((candidate for candidate in self.candidates if candidate.forgets and not candidate.inserts), None)

    @property
    def passed_over(self) -> tuple[Candidate, ...]:
        """Methods that forget more than the chosen one, but leave a module in the model."""
        before = self.candidates if self.chosen is None else self.candidates[: self.candidates.index(self.chosen)]
        return tuple(candidate for candidate in before if candidate.forgets and candidate.inserts)

    def change(self, candidate: Candidate, name: str) -> float | None:
        """Relative change of an evaluation set's perplexity; None where it was not measured."""
        if name not in candidate.nll:
            return None
        return math.expm1(min(700.0, candidate.nll[name] - self.baseline.target_test[name].mean_nll))


def recommend(records: Iterable[Record]) -> Recommendation | None:
    """The recommendation that the records of a removal request give; None where they are of no such request, or nothing was measured.

    Raises:
        InputError: records that cannot stand together.
    """
    kept, _ = comparable(records)
    requested = next((record.requested for record in kept if record.requested is not None), None)
    if requested is None:
        return None
    by_key = {record.spec.key(): record for record in kept}
    measured = [record for record in kept if record.requested is not None]
    task = measured[0].spec.task
    by_seed = baselines(measured)[task]
    (baseline,) = by_seed.values()  # a removal request is of one model
    of_methods = [row for row in rows(measured) if not row.is_reference]
    ran = [row for row in of_methods if row.status == "ok" and row.expense is not None]
    budgets = measured[0].spec.protocol.budgets
    headline = budgets.index(measured[0].spec.protocol.headline)

    unscored = why_unscored(by_seed)

    def merits(index: int) -> list[Candidate]:
        found = [_candidate(row, [by_key[key] for key in row.keys], index) for row in ran]
        return _placed(found, index, None if unscored else score_floor([baseline]), by_key)

    elsewhere = [(budgets[index], merits(index)) for index in range(len(budgets)) if index != headline]
    return Recommendation(
        requested=requested,
        baseline=baseline,
        budget=budgets[headline],
        unscored=unscored,
        candidates=tuple(merits(headline)),
        failed=len(of_methods) - len(ran),
        elsewhere=tuple((budget, best[0].row.label, best[0].merit.value) for budget, best in elsewhere if best),
    )


def _candidate(row: Row, records: Sequence[Record], index: int) -> Candidate:
    points = [record.operating_points[index] for record in records]
    at = row.points[index]
    shared = [name for name in points[0].test if all(name in point.test for point in points)]
    return Candidate(
        place=0,
        row=row,
        merit=at.counted or _drop(records, index, not_believed(records)),
        step=at.step,
        damage=at.damage,
        nll={name: sum(point.test[name].mean_nll for point in points) / len(points) for name in shared},
        inserts=any(record.inserts for record in records),
    )


def _placed(found: Sequence[Candidate], index: int, floor: float | None, by_key: Mapping[str, Record]) -> list[Candidate]:
    """In order, the best first and of equal ones the cheaper; where there are scores, those that cannot be told apart share a rank."""

    def flops(candidate: Candidate) -> float:
        return candidate.row.expense.flops if candidate.row.expense else 0.0

    if floor is None:
        ordered = sorted(found, key=lambda each: (-each.merit.value, flops(each), each.row.label))
        return [replace(each, place=1 + sum(other.merit.value > each.merit.value for other in found)) for each in ordered]
    groups = {each.row.label: [by_key[key] for key in each.row.keys] for each in found}
    cells = {label: counted_cells(group, index, not_believed(group)) for label, group in groups.items()}
    placed = ranking((Contender(each.row.label, each.merit.value, flops(each), [cells[each.row.label]]) for each in found), floor)
    by_label = {each.row.label: each for each in found}
    return [replace(by_label[label], place=placed.ranks[label].best) for label in placed.labels]


def _drop(records: Sequence[Record], index: int, doubted: Set[str]) -> Interval:
    """Mean over seeds, of what counts. They are judged on the same documents, so their intervals do not shrink together."""
    found = []
    for record in records:
        point = record.operating_points[index]
        if record.baseline is not None:
            drop = scores.selective_drop(point.test, record.baseline.target_test)
            counts = drop.value <= 0 or not (record.spec.key() in doubted or inadmissible(test_damage(record, index), point.budget))
            found.append(drop if counts else Interval(0.0, 0.0, 0.0))
    return Interval(*(sum(values) / len(found) for values in zip(*found, strict=True)))
