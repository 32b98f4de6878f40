"""The options of `bench run` that make a removal request of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.terminal import FAILED, err, out
from benchmark.errors import InputError

if TYPE_CHECKING:
    from benchmark.cell import Cell
    from benchmark.record import Record
    from benchmark.removal import Removal

KINDS = "a text file, a folder of them, JSONL, CSV or Parquet"

Forget = Annotated[
    Path | None, typer.Option("--forget", help=f"Your own text to be forgotten, in place of --tasks: {KINDS}.", show_default=False)
]
Retain = Annotated[
    Path | None,
    typer.Option("--retain", help="Text to be kept, like that to be forgotten [default: general text].", show_default=False),
]
Holdout = Annotated[
    Path | None,
    typer.Option("--holdout", help="Text like that to be forgotten that the model never saw: the score needs it.", show_default=False),
]

SaveModel = Annotated[
    Path | None,
    typer.Option("--save-model", help="Save the recommended model there, as a Hugging Face folder; with --forget.", show_default=False),
]


def asked(paths: Sequence[Path | None], tasks: str | None, data: Path | None, save_model: Path | None) -> Removal | None:
    """The removal request on the command line, read once to see that it can be used; None if there is none.

    Args:
        paths: of forget, retain and holdout.
        tasks: `--tasks`.
        data: `--data`.
        save_model: `--save-model`, which must be free.

    Raises:
        InputError: options that do not go together, or text that cannot be used.
    """
    from benchmark.removal import Removal, read_removal

    forget, retain, holdout = paths
    if forget is None:
        options = (("--retain", retain), ("--holdout", holdout), ("--save-model", save_model))
        stray = next((name for name, path in options if path is not None), None)
        if stray is not None:
            raise InputError(f"{stray} goes with --forget, the text to be forgotten")
        return None
    if save_model is not None:
        from benchmark.removal.saved_model import check_destination

        check_destination(save_model)
    for name, value in (("--tasks", tasks), ("--data", data)):
        if value is not None:
            raise InputError(f"--forget is a task of its own, with text of its own; leave {name} out")
    removal = Removal(forget, retain, holdout)
    for line in read_removal(removal).said:
        err.print(f"bench: note: {line}", markup=False, soft_wrap=True)
    return removal


def save(folder: Path, cells: Sequence[Cell], destination: Path) -> int:
    """Make the recommended model again, save it, and give the exit code.

    Raises:
        InputError: it cannot be made again, or not be saved there; the records are kept.
    """
    from benchmark import store
    from benchmark.leaderboard.recommendation import recommend
    from benchmark.removal.handover import hand_over

    records = store.read_all(folder)
    recommendation = recommend(records)
    chosen = None if recommendation is None else recommendation.chosen
    if recommendation is None or chosen is None:
        err.print(f"bench: no model saved in {destination}: none can be recommended", markup=False, soft_wrap=True)
        return FAILED
    with err.status(f"{chosen.row.label} again up to step {chosen.step:g}, to save its model") as status:
        hand_over(recommendation, records, cells[0], destination, lambda step: status.update(f"{chosen.row.label}, step {step}"))
    out.print(f"model saved in {destination}: {chosen.row.label}", markup=False, soft_wrap=True)
    return 0


def say_advice(records: Sequence[Record]) -> None:
    """Print what to do about a removal request; nothing where the records are of no such request."""
    from benchmark.leaderboard.advice import advice
    from benchmark.leaderboard.recommendation import recommend

    recommendation = recommend(records)
    for label, sentence in () if recommendation is None else advice(recommendation):
        out.print(f"{label}: {sentence}".replace("`", ""), markup=False, soft_wrap=True)
