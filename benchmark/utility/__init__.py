"""General utility: tasks of lm-eval, run in memory on the target and on what becomes of it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from benchmark.errors import InputError

FOLDER = Path(__file__).parent / "lm_eval_tasks"
"""The packaged tasks: lm-eval's YAML, and the items beside it as `<task>.jsonl`."""

NONE = "none"
"""On the command line: no task."""

PACKAGED = tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))
"""Tasks that need neither a network nor a large model."""


@cache
def held_back() -> frozenset[str]:
    """Ids of the bundled documents that the packaged tasks are made of: they are given to no method."""
    lines = [line for name in PACKAGED for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()]
    return frozenset(json.loads(line)["document"] for line in lines)


def asked(names: str | None) -> tuple[str, ...]:
    """The tasks that `--utility` names: the packaged ones unless told otherwise. Their order means nothing.

    Raises:
        InputError: `none` stands beside a task, or nothing is named.
    """
    if names is None:
        return PACKAGED
    named = sorted({name.strip() for name in names.split(",")} - {""})
    if named == [NONE]:
        return ()
    if not named or NONE in named:
        raise InputError(f"--utility {names}: name tasks of lm-eval separated by commas, as in {','.join(PACKAGED)}, or {NONE} alone")
    return tuple(named)


def check(names: tuple[str, ...]) -> None:
    """See that every task is known and its data at hand, before anything is measured.

    Raises:
        InputError: a task is unknown, is a group of tasks, or its data cannot be had.
    """
    if set(names) <= set(PACKAGED):
        return  # lm-eval takes seconds to import
    from benchmark.utility.answers import load

    for name in names:
        load(name)
