"""General utility: tasks of lm-eval, run in memory on the target and on what becomes of it."""

from __future__ import annotations

import difflib
from pathlib import Path

from benchmark.errors import InputError

FOLDER = Path(__file__).parent / "lm_eval_tasks"
"""The packaged tasks: lm-eval's YAML, and the items beside it as `<task>.jsonl`."""

NONE = "none"
"""On the command line: no task."""

PACKAGED = tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))
"""Tasks that need neither a network nor a large model."""


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
        return  # lm-eval takes seconds to import, and longer to look through its own tasks
    from benchmark.utility.answers import catalogue, load

    known = catalogue(True)
    for name in names:
        if name not in known.all_tasks:
            near = difflib.get_close_matches(name, known.all_subtasks, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`lm-eval ls tasks` shows them all"
            raise InputError(f"--utility {name}: unknown task of lm-eval; {hint}")
        if name not in known.all_subtasks:
            raise InputError(f"--utility {name}: a group of lm-eval's tasks; name the tasks in it that you want")
        load(name)
