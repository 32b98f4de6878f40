"""Choosing defaults: the same number of trials for every method, judged on validation halves alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.errors import InputError
from benchmark.record import Record, Scalar, Step
from benchmark.registry import MethodEntry
from benchmark.scores import top1_difference


@dataclass(frozen=True)
class Trial:
    """One setting of a method's searched fields, and its validation merit on each task at the headline budget."""

    method: str
    setting: Mapping[str, Scalar]
    merit: Mapping[str, float]
    """By task; a task is absent where the cell did not succeed."""

    @property
    def mean(self) -> float | None:
        """Mean merit, None where a cell is missing."""
        return sum(self.merit.values()) / len(self.merit) if self.merit else None


def settings(entry: MethodEntry, count: int) -> list[dict[str, Scalar]]:
    """`count` settings from a method's search space, in its order: all of them, or a seeded draw.

    Raises:
        InputError: the space has fewer settings than that.
    """
    space = [dict(zip(entry.cls.search, values, strict=True)) for values in itertools.product(*entry.cls.search.values())]
    if len(space) < count:
        raise InputError(f"method {entry.name!r} declares {len(space)} settings to search; every method needs {count} for equal trials")
    drawn = random.Random(0).sample(range(len(space)), count)
    return [space[index] for index in sorted(drawn)]


def trials(records: Sequence[Record], entries: Sequence[MethodEntry], tasks: Sequence[str], budget: float) -> list[Trial]:
    """The trials on record, best first within each method; of equal ones, the row's own default first.

    Merit is the best validation forget score within the budget, or the best top-1 difference where there is no score;
    doing nothing has merit 0.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    meaning: dict[tuple[str, str], tuple[str, dict[str, Scalar]]] = {}
    defaults = {}
    for entry in entries:
        built = entry.build()
        defaults[entry.name] = {name: getattr(built, name) for name in entry.cls.search}
        for record in records:
            if record.spec.method != entry.name or record.spec.task not in tasks:
                continue
            setting = {name: record.spec.hyperparameters[name] for name in entry.cls.search}
            key = (entry.name, repr(setting))
            meaning[key] = entry.name, setting
            found.setdefault(key, {})
            if record.status == "ok":
                found[key][record.spec.task] = merit(record.trajectory, budget)
    made = [Trial(*meaning[key], merits if len(merits) == len(tasks) else {}) for key, merits in found.items()]

    def place(trial: Trial) -> tuple[str, bool, float, bool, str]:
        return trial.method, trial.mean is None, -(trial.mean or 0.0), trial.setting != defaults[trial.method], repr(trial.setting)

    return sorted(made, key=place)


def merit(trajectory: Sequence[Step], budget: float) -> float:
    """Best validation merit of a trajectory within a utility budget."""
    start = trajectory[0].top1
    inside = [step for step in trajectory if step.damage <= budget]
    return max([0.0, *(top1_difference(step.top1, start) if step.score is None else step.score for step in inside)])


def table(trials: Sequence[Trial], tasks: Sequence[str], budget: float) -> str:
    """The trials as Markdown, the best of each method in bold."""
    lines = [
        f"Best validation forget score within {budget:.0%} utility damage, by task and on average; best trials in bold.",
        "",
        "| method | setting | mean | " + " | ".join(tasks) + " |",
        "|---|---|---|" + "---|" * len(tasks),
    ]
    seen = set()
    for trial in trials:
        bold = "**" if trial.method not in seen and trial.mean is not None else ""
        seen.add(trial.method)
        setting = ", ".join(f"{name}={value}" for name, value in trial.setting.items())
        mean = "failed" if trial.mean is None else f"{bold}{trial.mean:.3f}{bold}"
        scores = " | ".join(f"{trial.merit[task]:.3f}" if task in trial.merit else "-" for task in tasks)
        lines.append(f"| {trial.method} | {bold}{setting}{bold} | {mean} | {scores} |")
    return "\n".join(lines) + "\n"
