"""How far two models are apart on one metric, with an interval: paired over documents where both tell theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.chance import component, half_width
from benchmark.panel.membership import auc_interval
from benchmark.record import MetricValue
from benchmark.scores import Interval

SAME = 1e-9
"""How far the mean of documents may be from the value that it is said to be."""


def difference(first: MetricValue, second: MetricValue) -> Interval | None:
    """The first's value less the second's; None where either has none, or no interval is to be had.

    Where a value is the mean of its documents' `score`s, the interval is Student's t over their differences. Where it is the AUC of
    members' scores against others' (`member` 1 or 0, a member's being the lower), the two AUCs' own intervals are combined (MOVER: Zou
    & Donner 2008, Statistics in Medicine 27:1693) with their correlation by DeLong et al. 1988 (Biometrics 44:837): a bootstrap over a
    handful of documents has no width where all members lie on one side. Of other values the intervals are taken as independent, which
    makes that of the difference rather too wide.
    """
    if first.agg_value is None or second.agg_value is None:
        return None
    value = first.agg_value - second.agg_value
    pair = (first, second)
    if first.value_by_index.keys() == second.value_by_index.keys() and first.value_by_index:
        means = [_means(one) for one in pair]
        if means[0] is not None and means[1] is not None:
            half = half_width([component(means[0] - means[1], 1)])
            return Interval(value, value - half, value + half)
        won = [_won(one, list(first.value_by_index)) for one in pair]
        if won[0] is not None and won[1] is not None and won[0].shape == won[1].shape:
            return _of_aucs(won[0], won[1])
    if first.interval is None or second.interval is None:
        return None
    (low, high), (other_low, other_high) = first.interval, second.interval
    below = math.hypot(first.agg_value - low, other_high - second.agg_value)
    above = math.hypot(high - first.agg_value, second.agg_value - other_low)
    return Interval(value, value - below, value + above)


def interval(value: MetricValue) -> tuple[float, float] | None:
    """A value's own, as recorded; that of the AUC of a model's documents by `auc_interval`, as older records have a bootstrap's."""
    won = _won(value, list(value.value_by_index))
    return value.interval if won is None else auc_interval(float(won.mean()), *won.shape)


def told_from_zero(ends: tuple[float, float] | None) -> bool:
    """Whether an interval lies on one side of zero."""
    return ends is not None and (ends[0] > 0 or ends[1] < 0)


def mean(values: Sequence[float | None]) -> float | None:
    """None if any is missing, or there are none."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None


def mean_interval(intervals: Sequence[Interval | None]) -> Interval | None:
    """Of one quantity over seeds: means of values and of ends, as all seeds have the same documents; None if any is missing."""
    present = [interval for interval in intervals if interval is not None]
    if not present or len(present) < len(intervals):
        return None
    return Interval(*(float(np.mean(ends)) for ends in zip(*present, strict=True)))


def _means(value: MetricValue) -> NDArray[np.float64] | None:
    """The documents' scores, where the value is their mean."""
    documents = value.value_by_index.values()
    if len(documents) < 2 or any("score" not in document or "member" in document for document in documents):
        return None
    each = np.array([document["score"] for document in documents])
    if abs(each.mean() - (value.agg_value or 0.0)) > SAME * max(1.0, abs(each.mean())):
        return None
    return each


def _won(value: MetricValue, names: Sequence[str]) -> NDArray[np.float64] | None:
    """Which members, in rows, lie below which others; ties are 0.5. None unless the value is the AUC of these, of two or more a side."""
    documents = [value.value_by_index[name] for name in names]
    if any(not {"score", "member"} <= document.keys() for document in documents):
        return None
    members, others = (np.array([document["score"] for document in documents if document["member"] == side]) for side in (1.0, 0.0))
    if min(len(members), len(others)) < 2:
        return None
    wins = (members[:, None] < others) + 0.5 * (members[:, None] == others)
    if abs(wins.mean() - (value.agg_value or 0.0)) > SAME:
        return None
    return np.asarray(wins)


def _of_aucs(first: NDArray[np.float64], second: NDArray[np.float64]) -> Interval:
    """The first AUC less the second, of the same documents."""
    (value, low, high), (other, other_low, other_high) = (
        (won.mean(), *auc_interval(float(won.mean()), *won.shape)) for won in (first, second)
    )
    alike = _correlation(first, second)

    def reach(one: float, another: float) -> float:
        return math.sqrt(max(0.0, one**2 + another**2 - 2 * alike * one * another))

    apart = float(value - other)
    return Interval(apart, apart - reach(value - low, other_high - other), apart + reach(high - value, other - other_low))


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Of two AUCs of the same documents, by DeLong's covariances; 0 where either has no variance."""
    own, both, theirs = (_covariance(*pair) for pair in ((first, first), (first, second), (second, second)))
    return both / math.sqrt(own * theirs) if min(own, theirs) > SAME**2 else 0.0


def _covariance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    sides = [(first.mean(axis=axis), second.mean(axis=axis)) for axis in (1, 0)]
    return sum(float(np.cov(one, another)[0, 1]) / len(one) for one, another in sides)
