"""Scores: pure functions of measured quantities. Two-sided: going past the reference loses points."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.record import Baseline, Documents, Measurement, Step

KEPT = ("retain", "general")
"""Evaluation sets whose perplexity must not rise."""

RESAMPLES = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether it has ends: there are none to a score on a single document."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class SeedCell:
    """One run of a method: a method seed on the model of a target seed, as its forget documents came out on the test half.

    Of one task, every cell measures the same documents in the same order, whatever its seeds and its method (`ids` tell), so that
    methods can be compared document by document, each on the same target seed. Only an approximate reference has others: the
    holdout set's.
    """

    target_seed: int
    seed: int
    """Of the method."""
    unlearned: Documents
    target: Documents
    reference: Documents

    @property
    def score(self) -> float:
        """Forget score over all documents."""
        return forget_score(self.unlearned.mean_nll, self.target.mean_nll, self.reference.mean_nll)


def forget_score(quantity: float, target: float, reference: float) -> float:
    """1 - |q - q*| / |q0 - q*|.

    1: like the reference. 0: as far from it as the target is. Below 0: further, on either side.

    Raises:
        ValueError: target and reference do not differ.
    """
    gap = abs(target - reference)
    if gap == 0:
        raise ValueError("target and reference do not differ: there is nothing to score")
    return 1 - abs(quantity - reference) / gap


def mean_distance(values: Sequence[float]) -> float:
    """How far two of several trainings are apart: the mean over pairs, which more trainings make surer and no larger."""
    return statistics.fmean(abs(one - other) for one, other in itertools.combinations(values, 2))


def utility_damage(nll: Mapping[str, float], target: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Relative perplexity increase on kept text over the worse of target and reference; the worse of retain and general.

    Arguments are mean token NLL in nats by evaluation set; a set without a reference is judged by the target alone.
    At least 0: text that became easier is not damage. 0.05 is 5 %.
    """
    rises = [nll[name] - max(target[name], reference.get(name, -math.inf)) for name in KEPT if name in nll]
    return math.expm1(min(700.0, max(0.0, *rises))) if rises else 0.0


def relative_drop(top1: float, target: float) -> float:
    """1 - accuracy / accuracy of the target; 0 where the target has none to lose."""
    return 1 - top1 / target if target else 0.0


def top1_difference(top1: Mapping[str, float], target: Mapping[str, float]) -> float:
    """Relative top-1 drop on forget minus that on retain (Pochinkov & Schoots 2024, section 4), in [-inf, 1]."""
    return relative_drop(top1["forget"], target["forget"]) - relative_drop(top1["retain"], target["retain"])


def validation_merit(trajectory: Sequence[Step], budget: float) -> float:
    """Best forget score of a trajectory within a utility budget, or best top-1 difference where there is none; nothing done has 0."""
    start = trajectory[0].top1
    inside = [step for step in trajectory if step.damage <= budget]
    return max([0.0, *(top1_difference(step.top1, start) if step.score is None else step.score for step in inside)])


def means(measurement: Measurement) -> dict[str, float]:
    """Mean token NLL of each set."""
    return {name: documents.mean_nll for name, documents in measurement.items()}


def accuracies(measurement: Measurement) -> dict[str, float]:
    """Next-token accuracy on each set."""
    return {name: documents.top1 for name, documents in measurement.items()}


def area_under_curve(points: Sequence[tuple[float, float]], largest: float) -> float:
    """Area under the best score attainable within each utility damage, divided by `largest`.

    Args:
        points: (damage, score) of each step; the untouched target (0, 0) is always attainable.
        largest: damage up to which it is integrated.
    """
    best, area, reached = 0.0, 0.0, 0.0
    for damage, score in sorted(points):
        if damage > largest:
            break
        if score > best:
            area += best * (damage - reached)
            best, reached = score, damage
    return (area + best * (largest - reached)) / largest


def mean_score(cells: Sequence[SeedCell]) -> float:
    """Mean over target seeds of the mean forget score over method seeds."""
    by_target: defaultdict[int, list[float]] = defaultdict(list)
    for cell in cells:
        by_target[cell.target_seed].append(cell.score)
    return float(np.mean([np.mean(found) for found in by_target.values()]))


def gap_interval(target: Documents, reference: Documents) -> Interval:
    """Reference minus target forget NLL, nats a token, with a percentile bootstrap over documents.

    The two are resampled together where they are the same documents (an exact reference); an approximate reference has documents of
    its own and is resampled by itself.
    """
    rng = np.random.default_rng(0)
    rows = rng.integers(len(target.ids), size=(RESAMPLES, len(target.ids)))
    paired = reference.ids == target.ids
    reference_rows = rows if paired else rng.integers(len(reference.ids), size=(RESAMPLES, len(reference.ids)))
    gaps = resampled_nll(reference, reference_rows) - resampled_nll(target, rows)
    return Interval(reference.mean_nll - target.mean_nll, *percentiles(gaps))


def selective_drop(unlearned: Measurement, target: Measurement) -> Interval:
    """Relative top-1 drop on forget beyond that on retain, with a percentile bootstrap over the documents of both.

    Unlike `top1_difference` it gives nothing for accuracy gained on retain, which forgets nothing.
    """
    rng = np.random.default_rng(0)
    drops = []
    for name in ("forget", "retain"):
        before, after = np.asarray(target[name].correct), np.asarray(unlearned[name].correct)
        rows = rng.integers(len(before), size=(RESAMPLES, len(before)))
        known = before[rows].sum(axis=1)
        drops.append(1 - after[rows].sum(axis=1) / np.where(known == 0, np.nan, known))
    forget, retain = (relative_drop(unlearned[name].top1, target[name].top1) for name in ("forget", "retain"))
    return Interval(forget - max(0.0, retain), *percentiles(drops[0] - np.maximum(0, drops[1])))


def has_gap(baseline: Baseline) -> bool:
    """Whether the target knows the forget set enough better than the reference for a forget score to mean anything.

    The gap must exceed the noise floor where one was measured, and its interval must lie above zero, on the validation half as
    on the test half. Where the target finds the forget set harder than the reference does, there is nothing to forget.
    """
    if baseline.reference_kind == "none":
        return False
    halves = (
        (baseline.target_validation["forget"], baseline.reference_validation["forget"]),
        (baseline.target_test["forget"], baseline.reference_test["forget"]),
    )
    for target, reference in halves:
        gap = gap_interval(target, reference)
        if gap.low <= 0 or (baseline.noise_floor is not None and gap.value <= baseline.noise_floor):
            return False
    return True


def resampled_nll(documents: Documents, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean token NLL (resamples,) of each row (resamples, drawn) of document numbers."""
    nll, tokens = np.asarray(documents.nll), np.asarray(documents.tokens)
    return np.asarray(nll[rows].sum(axis=1) / tokens[rows].sum(axis=1))


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the interval that holds `CONFIDENCE` of the values, those that are no number left out."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)
