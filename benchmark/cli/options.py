"""Options of `bench run` and `bench sweep`: which model, which text, and how the model is loaded and fitted into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchmark.cli.terminal import err
from benchmark.errors import InputError

if TYPE_CHECKING:
    from benchmark.cell import Cell
    from benchmark.executors import Executor


def _enough(limit: int | None) -> int | None:
    if limit is not None and limit < 2:
        raise InputError(f"--limit {limit}: at least 2 documents are needed for an interval")
    return limit


Methods = Annotated[str, typer.Option("--methods", help="Names separated by commas, or all.")]
Model = Annotated[str, typer.Option("--model", help="lab, a local folder, or a hub model: a short name or ORG/NAME[@REVISION].")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of <domain>.jsonl[.gz], or a text of the hub by name: hub, pile [default: bundled text; hub for a hub model].",
        show_default=False,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        callback=_enough,
        help="Most documents in each half of each evaluation set, and most items of an lm-eval task.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
DeviceMap = Annotated[
    Literal["auto"] | None,
    typer.Option("--device-map", help="auto: spread the model over all GPUs, where one cannot hold it.", show_default=False),
]
Dtype = Annotated[Literal["float32", "bfloat16", "float16"], typer.Option("--dtype", help="Precision of the model's weights.")]
AllowPickle = Annotated[bool, typer.Option("--allow-pickle", help="Load weights that only come pickled.")]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model. Read it first.")]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        min=0,
        help="GB that a cell may use, the model included [default: what is free, shared by the jobs].",
        show_default=False,
    ),
]
GradientCheckpointing = Annotated[
    bool, typer.Option("--gradient-checkpointing", help="Compute each layer again in the backward pass rather than keep it.")
]
Lora = Annotated[
    Literal["auto", "never"],
    typer.Option("--lora", help="auto: where a method cannot train the weights in the memory at hand, but adapters, its row is with LoRA."),
]


def in_bytes(gigabytes: float | None) -> int | None:
    """What `--memory` names."""
    return None if gigabytes is None else int(gigabytes * 1e9)


def check_lora(lora: str, executor: str) -> None:
    """See that the memory that decides is at hand.

    Raises:
        InputError: it is that of another machine.
    """
    if lora == "auto" and executor != "local":
        raise InputError(
            f"--lora auto goes by the memory of this machine, and --executor {executor} runs cells on others; say --set METHOD.lora_rank=8"
        )


def fitted(cells: Sequence[Cell], settings: Sequence[str], place: Executor) -> list[Cell]:
    """The cells that `--lora auto` makes of a run's, told about on stderr; a rank that `--set` gives stays."""
    from benchmark.executors.processes import Processes
    from benchmark.fields import RANK
    from benchmark.fitting import with_lora

    targets = (setting.partition("=")[0].rpartition(".") for setting in settings)
    processes = min(place.count, len(cells)) if isinstance(place, Processes) else 1
    adapted, said = with_lora(cells, {method for method, _, field in targets if field == RANK}, processes)
    for line in said:
        err.print(f"bench: note: {line}", markup=False, soft_wrap=True)
    return adapted
