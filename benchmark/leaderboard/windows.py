"""A model against the reference, window by window: how much is still known, how much is overshot, as shares of what the target knows.

Two honest retrainings differ too: over every two of three, on all tasks of the shipped lab, between 0.01 and 0.11 on either side, and
never by less than 0.03 on both together. A model that lies on one side of the reference throughout has nothing on the other.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmark.record import MetricValue


class Apart(NamedTuple):
    """Two sums over windows, divided by that of reference minus target; the forget score is 1 less their difference, near enough."""

    known: float
    """What the loss falls short of the reference's, where it does."""
    overshot: float
    """What it exceeds the reference's by, where it does."""


def apart(value: MetricValue, target: MetricValue, reference: MetricValue) -> Apart | None:
    """From three values of `window_nll`; None where they are not of the same windows, or the target does not know the text."""
    own, before, without = ({name: of["nll"] for name, of in one.value_by_index.items()} for one in (value, target, reference))
    if not own.keys() == before.keys() == without.keys():
        return None
    gap = sum(without[name] - before[name] for name in own)
    if gap <= 0:
        return None
    return Apart(
        sum(max(0.0, without[name] - own[name]) for name in own) / gap,
        sum(max(0.0, own[name] - without[name]) for name in own) / gap,
    )
