"""What a model's answers are worth, beside the target's to the same items."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmark.errors import brief
from benchmark.model import LanguageModel
from benchmark.utility_result import UtilityResult, UtilityScore

if TYPE_CHECKING:
    from benchmark.utility.answers import Answers

GROUPS = 200
"""Most groups of items that the jackknife leaves out in turn: one by one where there are no more items than that."""

Outcome: TypeAlias = "Answers | str"
"""A task's answers, or why there are none."""


@dataclass(frozen=True)
class Utility:
    """The lm-eval tasks of a run, and what the target made of them."""

    limit: int | None
    """Most items of each; None for all."""
    target: Mapping[str, Outcome]

    def of_target(self) -> dict[str, UtilityResult] | None:
        """As it goes on record; None where no task was asked for."""
        return results(self.target) or None

    def of_untouched(self) -> dict[str, UtilityResult] | None:
        """Of a model that is the target still."""
        return results(self.target, self.target) or None

    def of(self, lm: LanguageModel) -> dict[str, UtilityResult] | None:
        """Of a model, with the change against the target."""
        return results(ask(lm, tuple(self.target), self.limit, self.target), self.target) or None


def ask(
    lm: LanguageModel, names: Sequence[str], limit: int | None = None, target: Mapping[str, Outcome] | None = None
) -> dict[str, Outcome]:
    """Put lm-eval tasks to a model. What goes wrong in a task is its outcome; a task that the target could not do is not tried.

    Args:
        lm: the model.
        names: of the tasks.
        limit: most items of each; None for all.
        target: what the target made of the same items.
    """
    if not names:
        return {}
    from benchmark.utility.answers import answer  # takes seconds, and once a process

    made: dict[str, Outcome] = {}
    for name in names:
        if target is not None and isinstance(reason := target[name], str):
            made[name] = f"not tried, as the target failed: {reason}"
            continue
        try:
            made[name] = answer(lm, name, limit)
        except Exception as error:  # of lm-eval, of a task or of the model: the forget scores stand without it
            made[name] = brief(error)
    return made


def results(found: Mapping[str, Outcome], target: Mapping[str, Outcome] | None = None) -> dict[str, UtilityResult]:
    """Answers as they go on record, by task, with the change against the target's where these are given."""
    made = {}
    for name, outcome in found.items():
        try:
            made[name] = _result(outcome, None if target is None else target[name])
        except Exception as error:  # a task's own aggregation may raise anything, and give what is no number
            made[name] = UtilityResult(reason=brief(error))
    return made


def _result(outcome: Outcome, target: Outcome | None) -> UtilityResult:
    if isinstance(outcome, str):
        return UtilityResult(reason=outcome)
    scores = {}
    for metric, values in outcome.values.items():
        aggregate = outcome.aggregate[metric]
        value = float(aggregate(values))
        if not math.isfinite(value):
            return UtilityResult(reason=f"{metric} is {value}")
        change, change_error = None, None
        if target is not None and not isinstance(target, str):
            pairs = list(zip(values, target.values[metric], strict=True))
            change = _difference(aggregate)(pairs)
            change_error = standard_error(_difference(aggregate), pairs)
        scores[metric] = UtilityScore(
            value=value,
            stderr=standard_error(aggregate, values),
            change=change,
            change_stderr=change_error,
            higher_is_better=outcome.higher_is_better[metric],
        )
    return UtilityResult(version=outcome.version, items=outcome.items, scores=scores)


def _difference(aggregate: Callable[[Sequence[Any]], float]) -> Callable[[Sequence[Any]], float]:
    return lambda pairs: float(aggregate([mine for mine, _ in pairs])) - float(aggregate([theirs for _, theirs in pairs]))


def standard_error(statistic: Callable[[Sequence[Any]], float], values: Sequence[Any]) -> float | None:
    """Jackknife standard error of a statistic of items; of a mean it is the familiar one where items are left out one by one.

    Items are taken in turn into groups of equal size, give or take one. None where there are fewer than two items, or where the
    statistic is not defined without some of them.
    """
    groups = min(len(values), GROUPS)
    if groups < 2:
        return None
    without = [float(statistic([value for index, value in enumerate(values) if index % groups != left])) for left in range(groups)]
    middle = sum(without) / groups
    error = math.sqrt((groups - 1) / groups * sum((each - middle) ** 2 for each in without))
    return error if math.isfinite(error) else None
