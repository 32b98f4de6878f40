"""The panel over all tasks: how far each method is from the reference, metric by metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.leaderboard.difference import mean
from benchmark.leaderboard.flags import Flag
from benchmark.leaderboard.panel import PanelRow, TaskPanel
from benchmark.panel.metric import Axis

SCORED: tuple[Axis, ...] = ("forgetting", "privacy")
"""Axes on which a distance is told as a score, of which 1 is as the reference; on the others in the metric's own unit."""


@dataclass(frozen=True)
class Summary:
    """One metric over the tasks."""

    metric: str
    axis: Axis | None
    shown: Literal["score", "minus_reference"]
    """The mean score, or the mean distance from the reference's value."""
    tasks: tuple[str, ...]
    """Over which: those where the metric gives scores, or where the reference has a value."""
    means: Mapping[str, float | None]
    """By the label of the row; None where one of these tasks lacks it."""


def summaries(panels: Sequence[TaskPanel], labels: Sequence[str]) -> tuple[Summary, ...]:
    """One a metric that has a distance on at least one task."""
    names: dict[str, Axis | None] = {}
    for panel in panels:
        names |= panel.metrics
    found = [_summary(name, axis, panels, labels) for name, axis in names.items()]
    return tuple(summary for summary in found if summary.tasks)


def _summary(name: str, axis: Axis | None, panels: Sequence[TaskPanel], labels: Sequence[str]) -> Summary:
    shown: Literal["score", "minus_reference"] = "score" if axis in SCORED else "minus_reference"
    counted = [panel for panel in panels if name in (panel.scored if shown == "score" else panel.of_reference)]
    means = {label: mean([_told(panel.rows.get(label), name, shown) for panel in counted]) for label in labels}
    return Summary(name, axis, shown, tuple(panel.task for panel in counted), means)


def _told(row: PanelRow | None, name: str, shown: Literal["score", "minus_reference"]) -> float | None:
    reading = None if row is None or row.incomplete else row.panel[name]
    if reading is None:
        return None
    return reading.score if shown == "score" else reading.minus_reference


def flagged(panels: Sequence[TaskPanel], label: str) -> Counter[Flag]:
    """On how many tasks a method is caught, by flag."""
    return Counter(flag for panel in panels if label in panel.rows for flag in panel.rows[label].flags)
