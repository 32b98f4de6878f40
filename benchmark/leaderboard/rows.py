"""Rows of the leaderboard: the records of one task, method and hyper-parameters, summed up over seeds."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from benchmark import scores
from benchmark.fields import RANK
from benchmark.leaderboard.baselines import baselines, why_unscored
from benchmark.leaderboard.insertion import Insertion, insertion
from benchmark.leaderboard.points import Point, counted_cells, not_believed, points
from benchmark.record import Cost, OperatingPoint, Record, Scalar, Status, Step
from benchmark.scores import Interval, SeedCell

ORIGINAL = "original"
RETRAINED = "retrained"
REFERENCES = (RETRAINED, ORIGINAL)
"""Rows that bracket every table, in the order shown: not methods, and not ranked."""

SETS = ("forget", "retain", "holdout", "general")

UNPUBLISHED: Mapping[str, bool] = {"published": False}
"""Marks what leaderboard.json leaves out: it is in the records."""


@dataclass(frozen=True)
class Expense:
    """What unlearning cost up to the headline operating point: means over seeds, memory the largest."""

    flops: float
    forward_tokens: float
    backward_tokens: float
    seconds: float
    cpu_seconds: float
    peak_memory: int
    parameters_changed: float
    retraining_flops: float | None
    """Of retraining from scratch; None where it is not known."""
    prepare_flops: float
    """Of the work that does not depend on the request."""
    prepare_seconds: float


@dataclass(frozen=True)
class CurvePoint:
    """One measured step, on the validation half."""

    step: int
    damage: float
    score: float | None
    forget_drop: float | None
    """Relative top-1 drop on forget; None where the target predicts nothing there."""
    retain_drop: float | None


@dataclass(frozen=True)
class Row:
    """One method with one set of hyper-parameters on one task."""

    task: str
    method: str
    label: str
    """The method's name, with the hyper-parameters that tell it from its other rows."""
    hyperparameters: Mapping[str, Scalar]
    target_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    """Of the method."""
    missing_target_seeds: tuple[int, ...]
    """Those of the task's other rows that it was not run on: then it has no rank, and no mean over tasks."""
    missing_seeds: tuple[tuple[int, int], ...]
    """Target seed, and a seed of the method that was run on another target seed but not on this one: likewise."""
    control: bool
    """Whether it never looks at the forget set."""
    status: Status
    reason: str | None
    points: tuple[Point, ...]
    """One a budget; none unless every seed is ok."""
    headline: Point | None
    cells: tuple[SeedCell, ...] = field(metadata=UNPUBLISHED)
    """What the headline point counts by, by target seed and within it by method seed; none where there is no such score."""
    area: float | None
    """Under the validation curve, up to the largest budget; None of a method that was caught hiding the text."""
    divergence: float | None
    """Jensen-Shannon distance to the reference on forget at the headline point, bits a token."""
    top1: Mapping[str, float]
    """Next-token accuracy on test at the headline point, by set."""
    max_difference: float | None
    """Largest relative top-1 drop on forget minus that on retain over the validation trajectory; for domain tasks."""
    expense: Expense | None
    insertion: Insertion | None
    """What its first step cost, for a method that only puts a module in by it."""
    curves: tuple[tuple[CurvePoint, ...], ...]
    """The trajectory of each seed."""
    keys: tuple[str, ...]
    """Of the records behind it."""

    @property
    def is_reference(self) -> bool:
        """Whether it is a bracket rather than a method."""
        return self.method in REFERENCES

    @property
    def name(self) -> str:
        """The label, and whether it is a control."""
        return f"{self.label} (control)" if self.control else self.label

    @property
    def lacks(self) -> str | None:
        """Which records are not there; None if none is missing."""
        told = [f"target seed {target_seed}" for target_seed in self.missing_target_seeds]
        told += [f"seed {seed} on target seed {target_seed}" for target_seed, seed in self.missing_seeds]
        return f"no record of {', '.join(told)}" if told else None

    @property
    def score(self) -> Interval | None:
        """The headline forget score as it counts; None where there is none, or not for every target seed and seed."""
        return None if self.headline is None or self.lacks else self.headline.counted

    @property
    def has_curve(self) -> bool:
        """Whether there is something to draw."""
        return self.status == "ok" and any(len(curve) > 1 for curve in self.curves)


def rows(records: Iterable[Record]) -> list[Row]:
    """Sum up records: one row a task, method and set of hyper-parameters, in the order of these."""
    records = list(records)
    groups: defaultdict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        spec = record.spec
        groups[spec.task, spec.method, json.dumps(spec.hyperparameters, sort_keys=True)].append(record)
    labels = _labels([record for group in groups.values() for record in group])
    scored = {task: why_unscored(by_seed) is None for task, by_seed in baselines(records).items()}
    target_seeds: defaultdict[str, set[int]] = defaultdict(set)
    for record in records:
        target_seeds[record.spec.task].add(record.spec.target_seed)
    summed = []
    for (task, method, hyperparameters), group in sorted(groups.items()):
        ordered = sorted(group, key=lambda record: (record.spec.target_seed, record.spec.seed, record.spec.key()))
        summed.append(_row(ordered, labels[method, hyperparameters], scored.get(task, False), target_seeds[task]))
    return summed


def _labels(records: Sequence[Record]) -> dict[tuple[str, str], str]:
    """A name for each method and set of hyper-parameters: what tells it apart from the method's other sets, and LoRA in any case."""
    sets: defaultdict[str, dict[str, Mapping[str, Scalar]]] = defaultdict(dict)
    for record in records:
        hyperparameters = record.spec.hyperparameters
        sets[record.spec.method][json.dumps(hyperparameters, sort_keys=True)] = hyperparameters
    labels = {}
    for method, variants in sets.items():
        names = sorted({name for variant in variants.values() for name in variant})
        differing = [name for name in names if len({json.dumps(variant.get(name)) for variant in variants.values()}) > 1]
        for key, variant in variants.items():
            shown = [name for name in names if name in variant and (name in differing or (name == RANK and variant[name]))]
            told = ", ".join(f"{name}={variant[name]}" for name in shown)
            labels[method, key] = f"{method} ({told})" if told else method
    return labels


def _row(group: Sequence[Record], label: str, scored: bool, target_seeds: Set[int]) -> Row:
    first, own, seeds = group[0], {record.spec.target_seed for record in group}, {record.spec.seed for record in group}
    there = {(record.spec.target_seed, record.spec.seed) for record in group}
    status, reason = _outcome(group)
    of_budgets = points(group, scored) if status == "ok" else ()
    middle = len(of_budgets) // 2
    chosen = [(record, record.operating_points[middle]) for record in group] if of_budgets else []
    divergences = [point.divergence["forget"] for _, point in chosen if point.divergence is not None and "forget" in point.divergence]
    curves = tuple(_curve(record.trajectory) for record in group)
    believed = bool(of_budgets) and scored and not any(point.hiding for point in of_budgets)
    return Row(
        task=first.spec.task,
        method=first.spec.method,
        label=label,
        hyperparameters=dict(sorted(first.spec.hyperparameters.items())),
        target_seeds=tuple(sorted(own)),
        seeds=tuple(sorted(seeds)),
        missing_target_seeds=tuple(sorted(target_seeds - own)),
        missing_seeds=tuple(pair for pair in itertools.product(sorted(own), sorted(seeds)) if pair not in there),
        control=any(record.control for record in group),
        status=status,
        reason=reason,
        points=of_budgets,
        headline=of_budgets[middle] if of_budgets else None,
        cells=counted_cells(group, middle, not_believed(group)) if of_budgets and scored else (),
        area=_mean([_area(curve, of_budgets[-1].budget) for curve in curves]) if believed else None,
        divergence=_mean(divergences) if chosen and len(divergences) == len(chosen) else None,
        top1=_top1([point for _, point in chosen]),
        max_difference=_mean([_max_difference(curve) for curve in curves]) if of_budgets and first.removes == "domain" else None,
        expense=_expense(chosen) if chosen else None,
        insertion=insertion(group),
        curves=curves,
        keys=tuple(record.spec.key() for record in group),
    )


def _outcome(group: Sequence[Record]) -> tuple[Status, str | None]:
    """The worst status of the seeds, and the reasons of those that have it."""
    severity: tuple[Status, ...] = ("failed", "diverged", "declined", "ok")
    worst = min((record.status for record in group), key=severity.index)
    several = len({record.spec.target_seed for record in group}) > 1
    said = [
        (f"target seed {record.spec.target_seed}, seed {record.spec.seed}" if several else f"seed {record.spec.seed}", record.reason)
        for record in group
        if record.status == worst and record.reason
    ]
    if len({reason for _, reason in said}) == 1 and len(said) == len(group):
        return worst, said[0][1]
    return worst, "; ".join(f"{seeds}: {reason}" for seeds, reason in said) or None


def _curve(trajectory: Sequence[Step]) -> tuple[CurvePoint, ...]:
    if not trajectory:
        return ()
    target = trajectory[0].top1

    def drop(step: Step, name: str) -> float | None:
        return scores.relative_drop(step.top1[name], target[name]) if target.get(name) else None

    return tuple(CurvePoint(step.step, step.damage, step.score, drop(step, "forget"), drop(step, "retain")) for step in trajectory)


def _area(curve: Sequence[CurvePoint], largest: float) -> float | None:
    points = [(point.damage, point.score) for point in curve if point.score is not None]
    return scores.area_under_curve(points, largest) if points else None


def _max_difference(curve: Sequence[CurvePoint]) -> float | None:
    drops = [(point.forget_drop, point.retain_drop) for point in curve]
    return max((forget - retain for forget, retain in drops if forget is not None and retain is not None), default=None)


def _top1(points: Sequence[OperatingPoint]) -> dict[str, float]:
    """Accuracy by set, where every seed has it."""
    shared = [name for name in SETS if points and all(name in point.test for point in points)]
    return {name: sum(point.test[name].top1 for point in points) / len(points) for name in shared}


def _expense(chosen: Sequence[tuple[Record, OperatingPoint]]) -> Expense:
    costs: list[Cost] = [point.cost for _, point in chosen]
    prepared = [record.prepare_cost for record, _ in chosen]
    count = len(chosen)
    return Expense(
        flops=sum(cost.flops for cost in costs) / count,
        forward_tokens=sum(cost.forward_tokens for cost in costs) / count,
        backward_tokens=sum(cost.backward_tokens for cost in costs) / count,
        seconds=sum(cost.seconds for cost in costs) / count,
        cpu_seconds=sum(cost.cpu_seconds for cost in costs) / count,
        peak_memory=max(cost.peak_memory for cost in costs),
        parameters_changed=sum(point.parameters_changed for _, point in chosen) / count,
        retraining_flops=_mean([record.retraining_flops for record, _ in chosen]),
        prepare_flops=sum(cost.flops for cost in prepared) / count,
        prepare_seconds=sum(cost.seconds for cost in prepared) / count,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean, or None if any is missing."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None
