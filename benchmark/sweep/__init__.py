"""Choosing defaults: the same number of trials for every method, judged on validation halves alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.errors import InputError
from benchmark.plan import target, value
from benchmark.record import Record, Scalar
from benchmark.registry import MethodEntry
from benchmark.scores import validation_merit


@dataclass(frozen=True)
class Trial:
    """One setting of a method's varied fields, and its validation merit on each task at the headline budget."""

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


def grids(settings: Sequence[str], entries: Sequence[MethodEntry], fixed: Sequence[str] = ()) -> dict[str, list[dict[str, Scalar]]]:
    """The settings that `method.field=value,value` asks for: of each method the product over its fields; one, its own, of the others.

    Args:
        settings: as given with `--grid`.
        entries: the methods asked for.
        fixed: as given with `--set`.

    Raises:
        InputError: a setting has another form or does not fit its method, or a field is both varied and set.
    """
    known = {entry.name: entry for entry in entries}
    axes: dict[str, dict[str, list[Scalar]]] = {name: {} for name in known}
    for setting in settings:
        name, field, text = target("--grid", setting, "value,value", "lr=1e-5,3e-5", list(known))
        if field in axes[name]:
            raise InputError(f"--grid {setting}: {name}.{field} has been given values already")
        if any(other.startswith(f"{name}.{field}=") for other in fixed):
            raise InputError(f"--grid {setting}: {name}.{field} is given with --set as well")
        axes[name][field] = list(dict.fromkeys(value("--grid", known[name], field, part.strip()) for part in text.split(",")))
    made = {name: [dict(zip(of, values, strict=True)) for values in itertools.product(*of.values())] for name, of in axes.items()}
    for name, asked in made.items():
        for point in filter(None, asked):
            try:
                known[name].build(point)
            except Exception as error:  # a method's own check may raise anything
                raise InputError(f"--grid {name}: {error}") from None
    return made


def check_free(entries: Sequence[MethodEntry], fixed: Sequence[str]) -> None:
    """See that `--set` leaves alone what the search spaces vary.

    Raises:
        InputError: it does not; trials would be the same cell several times.
    """
    for setting in fixed:
        left = setting.partition("=")[0]
        if left in {f"{entry.name}.{field}" for entry in entries for field in entry.cls.search}:
            raise InputError(f"--set {setting}: the sweep itself tries values of {left}; use --grid to say which")


def searched(entries: Sequence[MethodEntry]) -> dict[str, Sequence[str]]:
    """The fields of each method that its own search space varies."""
    return {entry.name: list(entry.cls.search) for entry in entries}


def trials(
    records: Sequence[Record],
    entries: Sequence[MethodEntry],
    tasks: Sequence[str],
    budget: float,
    varied: Mapping[str, Sequence[str]] | None = None,
) -> list[Trial]:
    """The trials on record, best first within each method; of equal ones, the row's own default first.

    Merit is the best validation forget score within the budget, or the best top-1 difference where there is no score;
    doing nothing has merit 0. Over several seeds it is the mean. `varied` names the fields that tell a method's trials apart:
    those that it searches, unless told otherwise.
    """
    varied = varied or searched(entries)
    found: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    meaning: dict[tuple[str, str], tuple[str, dict[str, Scalar]]] = {}
    defaults = {}
    for entry in entries:
        built = entry.build()
        defaults[entry.name] = {name: getattr(built, name) for name in varied[entry.name]}
        for record in records:
            if record.spec.method != entry.name or record.spec.task not in tasks:
                continue
            setting = {name: record.spec.hyperparameters[name] for name in varied[entry.name]}
            key = (entry.name, repr(setting))
            meaning[key] = entry.name, setting
            merits = found.setdefault(key, {}).setdefault(record.spec.task, [])
            merits.append(validation_merit(record.trajectory, budget) if record.status == "ok" else None)
    made = [Trial(*meaning[key], _means(merits, len(tasks))) for key, merits in found.items()]

    def place(trial: Trial) -> tuple[str, bool, float, bool, str]:
        return trial.method, trial.mean is None, -(trial.mean or 0.0), trial.setting != defaults[trial.method], repr(trial.setting)

    return sorted(made, key=place)


def _means(merits: Mapping[str, Sequence[float | None]], tasks: int) -> dict[str, float]:
    """By task over seeds; none at all where any is missing."""
    means = {task: sum(each for each in of if each is not None) / len(of) for task, of in merits.items()}
    return means if len(means) == tasks and not any(None in of for of in merits.values()) else {}


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
        setting = ", ".join(f"{name}={value}" for name, value in trial.setting.items()) or "its own"
        mean = "failed" if trial.mean is None else f"{bold}{trial.mean:.3f}{bold}"
        scores = " | ".join(f"{trial.merit[task]:.3f}" if task in trial.merit else "-" for task in tasks)
        lines.append(f"| {trial.method} | {bold}{setting}{bold} | {mean} | {scores} |")
    return "\n".join(lines) + "\n"
