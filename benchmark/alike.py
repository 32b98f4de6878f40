"""Which cells may lie in one results folder: of one model, precision and protocol and, task by task, one setting and the same data.

A model that was trained several times is another one for every target seed. One that was taught a task's documents first is another
one for every task; its fingerprint begins like its base's, by which models are told apart across tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from benchmark.errors import InputError
from benchmark.record import Spec

SHOWN = 3


def check_alike(specs: Iterable[Spec], remedy: str) -> None:
    """See that cells can stand side by side.

    Raises:
        InputError: they are of different models, precisions, protocols or, for one task, settings or data; it says which, and ends
            with `remedy`.
    """
    specs = list(specs)
    by_seed = [[spec for spec in specs if spec.target_seed == seed] for seed in sorted({spec.target_seed for spec in specs})]
    for of_seed in by_seed:
        _check_same("models", of_seed, lambda spec: f"{spec.model} ({spec.model_fingerprint[:12]})", remedy)
    _check_same("models", specs, lambda spec: spec.model, remedy)
    _check_same("precisions", specs, lambda spec: spec.dtype, remedy)
    _check_same("protocols", specs, lambda spec: spec.protocol.model_dump_json(), remedy)
    for task in sorted({spec.task for spec in specs}):
        of_task = [spec for spec in specs if spec.task == task]
        _check_same(f"settings for {task}", of_task, lambda spec: spec.setting, remedy)
        for of_seed in by_seed:
            its = [spec for spec in of_seed if spec.task == task]
            _check_same(f"models for {task}", its, lambda spec: spec.model_fingerprint, remedy)
        _check_same(f"data for {task}", of_task, lambda spec: spec.data_fingerprint[:12], remedy)


def _check_same(what: str, specs: Iterable[Spec], identity: Callable[[Spec], str], remedy: str) -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for spec in specs:
        found[identity(spec)].append(f"{spec.task}--{spec.method}--{spec.key()}")
    if len(found) < 2:
        return
    told = "; ".join(f"{name}: {_few(names)}" for name, names in sorted(found.items(), key=lambda item: len(item[1])))
    raise InputError(f"records of different {what} cannot stand in one leaderboard: {told}; {remedy}")


def _few(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
