"""`bench lab train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.terminal import err, names, out


def train(
    out_folder: Annotated[Path, typer.Option("--out", help="Where the lab goes.")] = Path("lab"),
    tasks: Annotated[str, typer.Option(help="Tasks to train a reference for; names separated by commas, or all.")] = "all",
    data: Annotated[Path | None, typer.Option(help="Folder of <domain>.jsonl[.gz] to use instead of the bundled text.")] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of everything, with seeds 0, 1, ...; from 2 on the noise floor is measured.")
    ] = 1,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trainings at a time [default: one a core].", show_default=False)] = None,
    hidden: Annotated[int | None, typer.Option(help="Width.", show_default=False)] = None,
    layers: Annotated[int | None, typer.Option(help="Depth.", show_default=False)] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Tokens of the byte-level BPE.", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the documents.", show_default=False)] = None,
) -> int:
    """Train the lab's models again: the target, and a reference without each task's forget set."""
    import os

    from benchmark import progress, registry
    from benchmark.corpus import load_corpus
    from benchmark.lab.make import make_lab
    from benchmark.lab.train import Recipe
    from benchmark.splits import split

    given = {"hidden": hidden, "layers": layers, "vocabulary": vocabulary, "epochs": epochs}
    recipe = Recipe(**{name: value for name, value in given.items() if value is not None})
    chosen = registry.tasks().values() if tasks == "all" else [registry.task(name) for name in names(tasks)]
    splits = {task.name: split(task, load_corpus(data or task.corpus)) for task in chosen}
    with progress.training(err) as report:
        lab = make_lab(splits, recipe, out_folder, jobs or os.cpu_count() or 1, seeds, report)
    models = seeds * (1 + len(lab.references))
    asked = f" --target-seeds {seeds}" if seeds > 1 else ""
    folder = out_folder if out_folder.is_absolute() else f"./{out_folder}"  # `lab` by itself names the one that ships
    out.print(f"{out_folder}: {models} models of {lab.parameters:,} parameters; use it with --model {folder}{asked}", soft_wrap=True)
    return 0
