"""The qualities of a metric: pure functions of its values on models of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

Knows = Literal["higher", "lower"]
"""On which side of a metric's scale a model lies that knows the text better."""


def faithfulness(knowing: Sequence[float], ignorant: Sequence[float], knows: Knows) -> float:
    """How often a model that knows lies on the knowing side of one that does not: the area under the ROC curve.

    The Mann-Whitney statistic over all pairs, a tie counting half: 1 where the metric always tells, 0.5 where it says nothing, 0
    where it is always wrong. Never folded. As in OpenUnlearning's meta-evaluation (arXiv:2506.12618).

    Raises:
        ValueError: a pool is empty.
    """
    if not knowing or not ignorant:
        raise ValueError("a pool of models is empty")
    above = _signed(knowing, knows)[:, None] - _signed(ignorant, knows)[None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def monotonicity(grades: Sequence[float], values: Sequence[float], knows: Knows) -> float:
    """How well a metric follows the grades of knowledge: Kendall's tau-b, in [-1, 1]; 0 where the metric is constant.

    Kendall 1938; for ties Kendall 1945.

    Raises:
        ValueError: fewer than two grades.
    """
    if len(set(grades)) < 2:
        raise ValueError("there must be two grades at least")
    if len(set(values)) < 2:
        return 0.0
    return float(stats.kendalltau(grades, _signed(values, knows)).statistic)


def repeatability(values: Sequence[Sequence[float]]) -> float | None:
    """How much of a metric's variance lies between models that were trained on different text, rather than between training seeds.

    The intraclass correlation ICC(1,1) of Shrout & Fleiss 1979: (B - W) / (B + (k - 1) W), where B and W are the mean squares
    between texts and within them.

    Args:
        values: a row for each training text, a column for each of k seeds.

    Returns:
        1 where seeds make no difference, 0 or below where texts make none; None where nothing varies at all.

    Raises:
        ValueError: fewer than two rows or columns.
    """
    table = np.asarray(values, dtype=np.float64)
    texts, seeds = table.shape
    if texts < 2 or seeds < 2:
        raise ValueError("there must be two training texts and two seeds at least")
    means = table.mean(axis=1)
    between = float(seeds * means.var(ddof=1))
    within = float(table.var(axis=1, ddof=1).mean())
    total = between + (seeds - 1) * within
    return (between - within) / total if total else None


def seed_noise(values: Sequence[Sequence[float]], target: Sequence[float], reference: Sequence[float]) -> float | None:
    """Spread over training seeds as a share of the gap that the metric is there to show.

    The pooled standard deviation of models that differ in their seed alone, over the distance between the mean target and the mean
    reference.

    Returns:
        0 where seeds make no difference, 1 where they make as much as having seen the text; None where there is no gap.
    """
    gap = abs(float(np.mean(target) - np.mean(reference)))
    within = float(np.sqrt(np.asarray(values, dtype=np.float64).var(axis=1, ddof=1).mean()))
    return within / gap if gap else None


def under_quantisation(before: float, after: float) -> float | None:
    """Q: how little of an unlearned model's value rounding its weights changes, by `_alike`.

    OpenUnlearning's meta-evaluation (arXiv:2506.12618) in the symmetric form of the Unlearning Depth Score's.

    Returns:
        None where nothing moved: what stands at the end of its scale, or is counted in few steps, would seem as steady as can be.
    """
    return _alike(before, after) if before != after else None


def under_relearning(unlearned: float, reference: float) -> float | None:
    """R: how alike the changes are that training makes to the unlearned model's value and to the reference's, by `_alike`.

    From the same sources as Q.

    Returns:
        None where either did not move: beside a change of nothing every other is infinitely large, and nothing is like nothing.
    """
    return _alike(unlearned, reference) if unlearned and reference else None


def barrier(losses: Sequence[float]) -> float:
    """How far a loss rises above the straight line between its ends on the way from one model to another, at evenly spaced points.

    0 where it never does. After Frankle et al. 2020 (arXiv:1912.05671), section 2.
    """
    line = np.linspace(losses[0], losses[-1], len(losses))
    return float(max(0.0, np.max(np.asarray(losses) - line)))


def _signed(values: Sequence[float], knows: Knows) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Turned so that higher is knowing."""
    each: np.ndarray[tuple[int], np.dtype[np.float64]] = np.asarray(values, dtype=np.float64)
    return each if knows == "higher" else -each


def _alike(first: float, second: float) -> float:
    """1 - |a - b| / (|a| + |b|), in [0, 1]: 1 where the two are equal, 0 where they differ in sign or one of them is 0; not both."""
    return 1 - abs(first - second) / (abs(first) + abs(second))
