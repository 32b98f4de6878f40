"""What an lm-eval task gave for one model, as it stands in a record."""

from __future__ import annotations

from benchmark.strict import Strict


class UtilityScore(Strict):
    """One metric of an lm-eval task."""

    value: float
    stderr: float | None
    """Over items; None where there is none to be had."""
    change: float | None
    """Less the target's; None for the target itself."""
    change_stderr: float | None
    """Of the change, over items: smaller than those of the two values, as both are of the same items."""
    higher_is_better: bool | None
    """None where lm-eval does not say."""


class UtilityResult(Strict):
    """A model on one lm-eval task."""

    version: str | None = None
    """Of the task, as lm-eval states it."""
    items: int = 0
    scores: dict[str, UtilityScore] = {}
    """By lm-eval's name of the metric."""
    reason: str | None = None
    """Why there are none: an item that does not fit the model's context, an answer that is not finite, an error."""
