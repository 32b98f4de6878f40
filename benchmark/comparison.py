"""Which methods can be told apart: every pair of them on the same documents and target seeds, corrected for the number of pairs.

Compared are mean forget scores over tasks, with chance as `benchmark.chance` has it: a difference has the same sources of it as a
score, those of the documents and target seeds that both methods share being of the differences on them.

Neither the bootstrap nor a permutation test, which are more usual (Dror et al. 2018, ACL, section 3), since a task has a handful of
documents and a board few target seeds: resampling n of n makes a variance (n - 1) / n as large, a half for two seeds; Holm's
correction over 400 pairs asks for p-values near 0.0001, of which resamples of six documents say nothing; and flipping the signs of
differences by document takes the seeds as given. Between two equally good methods on six tasks of six documents and two seeds, as
simulated, a nested percentile bootstrap finds a difference at 5 % in 8 to 14 % of cases, sign flips in 8 to 23 %, and this in 3 to 5 %.
That is with two target seeds on every task. Where a task has one, chance in training has no part in the variance: with one on all six
tasks this finds a difference in 13 % of cases.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.chance import Judged, component, judge, student
from benchmark.record import Baseline
from benchmark.scores import CONFIDENCE, SeedCell


@dataclass(frozen=True)
class Comparison:
    """Two methods on what both were run on."""

    first: str
    second: str
    difference: float
    """Mean forget score over tasks of the first, less that of the second."""
    standard_error: float | None
    """None where it cannot be known: there is a single document."""
    p: float
    """Two-sided."""
    adjusted_p: float
    """After Holm's correction over all pairs."""
    floor: float
    """Differences up to this are those of two honest retrainings."""

    @property
    def told_apart(self) -> bool:
        """Whether there is a difference, larger than the noise floor."""
        return self.adjusted_p <= 1 - CONFIDENCE and abs(self.difference) > self.floor

    def better(self) -> tuple[str, str]:
        """The better one, then the worse."""
        return (self.first, self.second) if self.difference > 0 else (self.second, self.first)


@dataclass(frozen=True)
class Rank:
    """Where a method stands among others: its rank is at least `best` and at most `worst`.

    `best` is one more than there are methods that are told to be better, and is the rank that is shown: methods that cannot be
    told apart from all better ones share it. `worst` leaves room for all that are not told to be worse. With a familywise error of
    5 % both hold for all methods at once (Mogstad, Romano, Shaikh & Wilhelm 2024, Review of Economic Studies 91:476, section 3).
    Percentiles of bootstrapped ranks do not, where methods are near each other (Hall & Miller 2009, Annals of Statistics 37:3929).
    """

    best: int
    worst: int


def compare(cells: Mapping[str, Sequence[Sequence[SeedCell]]], floor: float) -> tuple[Comparison, ...]:
    """Every pair of methods.

    Args:
        cells: of each method, task by task in the same order, on the test half.
        floor: of score differences, see `score_floor`.

    Raises:
        ValueError: two methods have no target seed of a task in common, or were measured on different documents.
    """
    judged = {name: [judge(task) for task in tasks] for name, tasks in cells.items()}
    pairs = list(itertools.combinations(sorted(judged), 2))
    found = [_compare(judged[first], judged[second]) for first, second in pairs]
    adjusted = holm([p for _, _, p in found])
    return tuple(
        Comparison(first, second, difference, error, p, corrected, floor)
        for (first, second), (difference, error, p), corrected in zip(pairs, found, adjusted, strict=True)
    )


def ranks(names: Iterable[str], comparisons: Iterable[Comparison]) -> dict[str, Rank]:
    """The rank of each method among `names`."""
    names = list(names)
    above, below = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for comparison in comparisons:
        if comparison.told_apart:
            better, worse = comparison.better()
            above[worse] += 1
            below[better] += 1
    return {name: Rank(1 + above[name], len(names) - below[name]) for name in names}


def score_floor(baselines: Iterable[Baseline]) -> float:
    """The mean over tasks of each one's noise floor as a difference of forget scores: its nats a token divided by the task's gap on test.

    A mean, so that methods less than the floor apart on every task are so on average. A floor that was not measured counts as 0:
    it hides nothing.
    """
    floors = []
    for baseline in baselines:
        gap = abs(baseline.reference_test["forget"].mean_nll - baseline.target_test["forget"].mean_nll)
        floors.append((baseline.noise_floor or 0.0) / gap)
    return math.fsum(floors) / len(floors) if floors else 0.0


def holm(p: Sequence[float]) -> list[float]:
    """p-values after Holm's step-down correction (Holm 1979, Scandinavian Journal of Statistics 6:65), in their order."""
    adjusted, largest = [0.0] * len(p), 0.0
    for place, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = largest
    return adjusted


def _compare(first: Sequence[Judged], second: Sequence[Judged]) -> tuple[float, float | None, float]:
    """Difference of the means over tasks, its standard error, and p."""
    differences, components, known = [], [], True
    for one, other in zip(first, second, strict=True):
        shared = sorted(one.scores.keys() & other.scores.keys())
        if not shared:
            raise ValueError("two methods have no target seed in common")
        of_seeds = np.array([one.scores[target].mean() - other.scores[target].mean() for target in shared])
        differences.append(float(of_seeds.mean()))
        documents, reference = (
            np.mean([ours[target] - theirs[target] for target in shared], axis=0)
            for ours, theirs in ((one.documents, other.documents), (one.reference, other.reference))
        )
        seeds = [of_seeds] if len(shared) > 1 else [one.scores[shared[0]], other.scores[shared[0]]]
        components += [component(sample, len(first)) for sample in (documents, reference, *seeds) if len(sample) > 1]
        known &= 1 not in (len(documents), len(reference))
    difference = math.fsum(differences) / len(differences)
    return (difference, *student(difference, components)) if known else (difference, None, 1.0)
