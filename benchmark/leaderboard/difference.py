"""How far two models are apart on one metric, with an interval: paired over documents where both tell theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from benchmark.chance import component, half_width
from benchmark.documents import percentiles
from benchmark.record import MetricValue
from benchmark.scores import RESAMPLES, Interval

SAME = 1e-9
"""How far the mean of documents may be from the value that it is said to be."""


def difference(first: MetricValue, second: MetricValue) -> Interval | None:
    """The first's value less the second's; None where either has none, or no interval is to be had.

    Where a value is the mean of its documents' `score`s, the interval is Student's t over their differences. Where it is the AUC of
    members' scores against others' (`member` 1 or 0, a member's being the lower), documents are resampled, the same ones of both models.
    Of other values the intervals are taken as independent, which makes that of the difference rather too wide.
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
        draws = [_aucs(one) for one in pair]
        if draws[0] is not None and draws[1] is not None:
            return Interval(value, *percentiles(draws[0] - draws[1]))
    if first.interval is None or second.interval is None:
        return None
    (low, high), (other_low, other_high) = first.interval, second.interval
    below = math.hypot(first.agg_value - low, other_high - second.agg_value)
    above = math.hypot(high - first.agg_value, second.agg_value - other_low)
    return Interval(value, value - below, value + above)


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


def _aucs(value: MetricValue) -> NDArray[np.float64] | None:
    """Of resamples of either side, where the value is the AUC of scores."""
    documents = value.value_by_index.values()
    if any(not {"score", "member"} <= document.keys() for document in documents):
        return None
    members, others = (np.array([document["score"] for document in documents if document["member"] == side]) for side in (1.0, 0.0))
    if min(len(members), len(others)) < 2:
        return None
    wins = (members[:, None] < others) + 0.5 * (members[:, None] == others)
    if abs(wins.mean() - (value.agg_value or 0.0)) > SAME:
        return None
    drawn, against = _counts(*wins.shape)
    return np.asarray(((drawn @ wins) * against).sum(axis=1) / wins.size)


@lru_cache(maxsize=64)
def _counts(members: int, others: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each member, and each other, is drawn: (resamples, members) and (resamples, others)."""
    rng = np.random.default_rng(0)
    drawn, against = (rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) for count in (members, others))
    return drawn, against
