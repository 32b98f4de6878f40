"""A model against the reference, window by window, in shares of what the target knows of all windows.

Two honest retrainings differ too. Over every two of three, on all tasks of the shipped lab, `known` and `overshot` are between 0.01 and
0.11 each, together at least 0.03 and at most 0.16.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmark.record import MetricValue


class Apart(NamedTuple):
    """Sums over windows, divided by that of reference minus target."""

    known: float
    """What the loss falls short of the reference's, where it does."""
    overshot: float
    """What it exceeds the reference's by, where it does."""
    uneven: float
    """How far what is left of each window lies from what would be if all were forgotten alike, to the same mean."""


def apart(value: MetricValue, target: MetricValue, reference: MetricValue) -> Apart | None:
    """From three values of `window_nll`; None where they are not of the same windows, or the target does not know the text."""
    own, before, without = ({name: of["nll"] for name, of in one.value_by_index.items()} for one in (value, target, reference))
    if not own.keys() == before.keys() == without.keys():
        return None
    known = {name: without[name] - before[name] for name in own}
    left = {name: without[name] - own[name] for name in own}
    gap = sum(known.values())
    if gap <= 0:
        return None
    mean = sum(left.values()) / gap
    return Apart(
        known=sum(max(0.0, part) for part in left.values()) / gap,
        overshot=sum(max(0.0, -part) for part in left.values()) / gap,
        uneven=sum(abs(left[name] - mean * known[name]) for name in own) / gap,
    )
