"""What a metric of the panel is: a card that says how to read it, and a function of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmark.record import MetricValue

if TYPE_CHECKING:
    from benchmark.panel.subject import Subject

Axis = Literal["forgetting", "privacy", "utility", "robustness", "validity"]


@dataclass(frozen=True)
class Metric:
    """One line of the panel. A metric plugin is a module that defines some of these.

    Whatever it measures, the right value is the reference model's: a model that never saw the text has one too. Of validity
    metrics there is no model: they say whether the text allows the others to be believed.
    """

    name: str
    """As typed on the command line."""
    axis: Axis
    """The question that it helps to answer."""
    summary: str
    """One line for `bench list metrics`."""
    unit: str
    low: float | None
    """The least it can be; None: there is no such value."""
    high: float | None
    knows: Literal["higher", "lower", "neither"]
    """Where a model lies that knows the forget set better; `neither` for what does not tell."""
    source: str
    """Paper, section, and the name that it goes by elsewhere."""
    measure: Callable[[Subject], MetricValue]
    corrected: str | None = None
    """What differs from the metric of the same name elsewhere, and why."""
    trains: bool = False
    """Whether it trains on text like the forget set: then it tells what can be learnt again, besides what is there."""
    core: bool = False
    """Whether it is so cheap that it is measured by default."""
    version: int = 1
    """Raised when its values change: older ones are then measured again."""
