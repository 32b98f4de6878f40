"""How much tuning matters to a method: what its trials in a sweep gave, chosen on validation and judged on test. Records in, lines out."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from benchmark import scores
from benchmark.leaderboard.baselines import baselines, why_unscored
from benchmark.leaderboard.points import counted_cells, not_believed, test_damage
from benchmark.leaderboard.rows import REFERENCES
from benchmark.record import Cost, Record


class Trial(NamedTuple):
    """One setting of a method: means over the sweep's tasks, and over seeds on each."""

    merit: float
    """Best forget score inside the headline budget, on validation; 0 is doing nothing."""
    score: float
    """Forget score of that point on test, as it counts."""
    inside: float
    """Share of its runs with a point that is a step and not above the budget on test."""


@dataclass(frozen=True)
class Tuning:
    """One method's trials."""

    method: str
    trials: int
    best_of: tuple[float, ...]
    """Expected test score of the best on validation of k trials, for k = 1, 2, ... up to all; none where a trial is missing."""
    median: float | None
    """Of the trials' test scores; this and `inside` None where a trial is missing."""
    inside: float | None
    """Mean over trials."""
    flops: float
    """Of all trials, each to the end of its trajectory, and of what was prepared for them."""
    cpu_seconds: float
    missing: str | None
    """How many trials, and why."""


@dataclass(frozen=True)
class Sweep:
    """A folder of trials."""

    tasks: tuple[str, ...]
    """Those with forget scores; the others are left out."""
    budget: float
    protocol: int
    """The version of its protocol, which need not be the board's."""
    growth: float
    """Of its protocol: steps are measured this many times apart."""
    tunings: tuple[Tuning, ...]
    """The best of all trials first; then those with trials missing."""


def sweep_tuning(records: Sequence[Record]) -> Sweep | None:
    """What a sweep's trials say; None where it has no task with forget scores."""
    scored = tuple(sorted(task for task, by_seed in baselines(records).items() if why_unscored(by_seed) is None))
    if not scored:
        return None
    settings: defaultdict[str, defaultdict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.spec.task in scored and record.spec.method not in REFERENCES:
            settings[record.spec.method][json.dumps(record.spec.hyperparameters, sort_keys=True)].append(record)
    tunings = [_tuning(method, scored, [settings[method][key] for key in sorted(settings[method])]) for method in sorted(settings)]
    tunings.sort(key=lambda tuning: (not tuning.best_of, -tuning.best_of[-1] if tuning.best_of else 0.0, tuning.method))
    protocol = records[0].spec.protocol
    return Sweep(scored, protocol.headline, protocol.version, protocol.growth, tuple(tunings))


def expected_best(trials: Sequence[Trial]) -> tuple[float, ...]:
    """Expected test score of the trial that validation would choose among k of these drawn without replacement, for every k.

    The mean over all subsets of k trials, in closed form: the unbiased estimator of what Dodge et al. 2019 (arXiv:1909.03004,
    section 3) plot; theirs draws with replacement (compared in Dodge et al. 2021, arXiv:2110.00613). Of trials with the same merit
    each is as likely to be chosen as any other.
    """
    same: defaultdict[float, list[float]] = defaultdict(list)
    for trial in trials:
        same[trial.merit].append(trial.score)
    values = [statistics.fmean(same[trial.merit]) for trial in sorted(trials, key=lambda trial: trial.merit)]
    count = len(values)
    return tuple(
        math.fsum(math.comb(worse, k - 1) * value for worse, value in enumerate(values)) / math.comb(count, k) for k in range(1, count + 1)
    )


def _tuning(method: str, tasks: Sequence[str], settings: Sequence[Sequence[Record]]) -> Tuning:
    records = [record for setting in settings for record in setting]
    seeds = {(record.spec.task, record.spec.target_seed, record.spec.seed) for record in records}
    lacking = [setting for setting in settings if _lacking(setting, tasks, seeds)]
    trials = [] if lacking else [_trial(setting, tasks) for setting in settings]
    spent = [record.trajectory[-1].cost for record in records if record.trajectory]
    costs: list[Cost] = [*spent, *{record.prepare_cost for record in records}]  # prepared once: the same cost is of the same work
    return Tuning(
        method=method,
        trials=len(settings),
        best_of=expected_best(trials),
        median=statistics.median(trial.score for trial in trials) if trials else None,
        inside=statistics.fmean(trial.inside for trial in trials) if trials else None,
        flops=float(sum(cost.flops for cost in costs)),
        cpu_seconds=math.fsum(cost.cpu_seconds for cost in costs),
        missing=f"{len(lacking)} of its trials failed, declined or lack a task or seed" if lacking else None,
    )


def _lacking(setting: Sequence[Record], tasks: Sequence[str], seeds: Set[tuple[str, int, int]]) -> bool:
    """Whether a trial has no outcome; one that diverged has: it leaves nothing but the untouched model to take."""
    there = {(record.spec.task, record.spec.target_seed, record.spec.seed) for record in setting}
    return there != seeds or {task for task, _, _ in there} != set(tasks) or any(r.status in ("failed", "declined") for r in setting)


def _trial(setting: Sequence[Record], tasks: Sequence[str]) -> Trial:
    found = [_outcome([record for record in setting if record.spec.task == task]) for task in tasks]
    return Trial(*(statistics.fmean(values) for values in zip(*found, strict=True)))


def _outcome(records: Sequence[Record]) -> Trial:
    """On one task."""
    if any(record.status == "diverged" for record in records):
        return Trial(0.0, 0.0, 0.0)
    protocol = records[0].spec.protocol
    budget, index = protocol.headline, protocol.budgets.index(protocol.headline)
    inside = [record.operating_points[index].step > 0 and test_damage(record, index) <= budget for record in records]
    merits = [scores.validation_merit(record.trajectory, budget) for record in records]
    return Trial(
        statistics.fmean(merits), scores.mean_score(counted_cells(records, index, not_believed(records))), statistics.fmean(inside)
    )
