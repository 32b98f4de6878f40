"""Chance in forget scores: how far a mean over tasks would be elsewhere with other documents and other seeds.

Tasks are taken as given, and as independent of each other; chance lies in the documents that were measured and in the seeds that
were trained with. The variance is a sum over tasks: of jackknife pseudo-values over documents, as the score is a ratio and no mean
(Efron & Tibshirani 1993, chapter 11), and between target seeds or, where there is but one, between the seeds of a method. The
distance from the truth over its standard error is held against Student's t with the degrees of freedom of Satterthwaite 1946
(Biometrics Bulletin 2:110). `benchmark.comparison` does the same with differences.

Not the bootstrap, which is more usual: resampling n of n makes a variance (n - 1) / n as large and allows nothing for a variance that
is itself known from a handful. Of two target seeds drawn with replacement half of the draws are one of them twice, so that what is
called an interval of 95 % holds the truth in half of all cases; over six documents in 86 %. On six documents a task and two or three
target seeds, whose chance is the larger, this holds it in 95 to 98 % of simulated cases over three or six tasks, and on a single task
in 90 % with two target seeds and 95 % with three. Where a task has one target seed, chance in training is in no part of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from benchmark.record import Documents
from benchmark.scores import CONFIDENCE, Interval, SeedCell, forget_score

Array = NDArray[np.float64]


class Component(NamedTuple):
    """One source of chance in an estimate."""

    variance: float
    degrees_of_freedom: int


def estimate(tasks: Sequence[Sequence[SeedCell]]) -> Interval:
    """Mean forget score over tasks, each a mean over target seeds of means over method seeds, with its interval.

    Where there is a single document to a task, there is no telling: the interval has no ends.

    Args:
        tasks: the cells of each, on the test half.
    """
    values, parts, known = [], [], True
    for one in map(judge, tasks):
        of_seeds = np.array([scores.mean() for scores in one.scores.values()])
        documents, reference = (np.mean(list(found.values()), axis=0) for found in (one.documents, one.reference))
        seeds = of_seeds if len(of_seeds) > 1 else next(iter(one.scores.values()))
        values.append(float(of_seeds.mean()))
        parts += [component(sample, len(tasks)) for sample in (documents, reference, seeds) if len(sample) > 1]
        known &= one.known
    value = math.fsum(values) / len(values)
    if not known:
        return Interval(value, -math.inf, math.inf)
    half = half_width(parts)
    return Interval(value, value - half, value + half)


def half_width(components: Sequence[Component]) -> float:
    """Of the interval of an estimate whose sources of chance are independent."""
    error, freedom = _pooled(components)
    return error * float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) if error else 0.0


def student(difference: float, components: Sequence[Component]) -> tuple[float, float]:
    """Standard error of a difference whose sources of chance are independent, and its two-sided p-value by Student's t."""
    error, freedom = _pooled(components)
    return (error, float(2 * stdtr(freedom, -abs(difference) / error))) if error else (0.0, float(difference == 0))


def _pooled(components: Sequence[Component]) -> tuple[float, float]:
    """Standard error, and Satterthwaite's degrees of freedom; those of an estimate without chance are endless."""
    total = math.fsum(each.variance for each in components)
    if total == 0:
        return 0.0, math.inf
    return math.sqrt(total), total**2 / math.fsum(each.variance**2 / each.degrees_of_freedom for each in components)


def component(sample: Array, tasks: int) -> Component:
    """The part that one sample has in the mean over tasks."""
    return Component(float(sample.var(ddof=1)) / len(sample) / tasks**2, len(sample) - 1)


@dataclass(frozen=True)
class Judged:
    """One method on one task, by target seed."""

    scores: Mapping[int, Array]
    """Forget score of each method seed."""
    documents: Mapping[int, Array]
    """Jackknife pseudo-values of the mean over method seeds, by forget document."""
    reference: Mapping[int, Array]
    """The same by the reference's documents, where it has its own."""
    known: bool
    """Whether there are documents enough to tell chance by, or there is none: every cell is the target or the reference itself."""


def judge(cells: Sequence[SeedCell]) -> Judged:
    """The cells of one method on one task, summed up by target seed."""
    by_target: defaultdict[int, list[SeedCell]] = defaultdict(list)
    for cell in cells:
        by_target[cell.target_seed].append(cell)
    values = {target: [_pseudo_values(cell) for cell in group] for target, group in by_target.items()}
    certain = all(cell.unlearned.nll in (cell.target.nll, cell.reference.nll) for cell in cells)
    return Judged(
        scores={target: np.array([cell.score for cell in group]) for target, group in by_target.items()},
        documents={target: np.mean([forget for forget, _ in found], axis=0) for target, found in values.items()},
        reference={target: np.mean([reference for _, reference in found], axis=0) for target, found in values.items()},
        known=certain or not any(1 in map(len, pair) for found in values.values() for pair in found),
    )


def _pseudo_values(cell: SeedCell) -> tuple[Array, Array]:
    """n x score - (n - 1) x score without a document, by forget document and by document of a reference that has its own."""
    q, q0, q_star = cell.unlearned.mean_nll, cell.target.mean_nll, cell.reference.mean_nll
    without = list(zip(_left_out(cell.unlearned), _left_out(cell.target), strict=True))
    if cell.reference.ids == cell.unlearned.ids:
        left = [forget_score(*nll, other) for nll, other in zip(without, _left_out(cell.reference), strict=True)]
        return _pseudo(cell.score, left), np.empty(0)
    return (
        _pseudo(cell.score, [forget_score(*nll, q_star) for nll in without]),
        _pseudo(cell.score, [forget_score(q, q0, other) for other in _left_out(cell.reference)]),
    )


def _pseudo(score: float, without: Sequence[float]) -> Array:
    return len(without) * score - (len(without) - 1) * np.asarray(without)


def _left_out(documents: Documents) -> list[float]:
    """Mean token NLL without each document; with it, where it is the only one."""
    nll, tokens = np.asarray(documents.nll), np.asarray(documents.tokens)
    left = (nll.sum() - nll) / (tokens.sum() - tokens) if len(nll) > 1 else nll / tokens
    return [float(each) for each in left]
