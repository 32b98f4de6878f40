"""`bench meta`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.executor import Jobs
from benchmark.cli.terminal import Plugins, err, names, out, warn_of_broken_plugins


def meta(
    metrics: Annotated[str, typer.Option(help="Names separated by commas, or all.")] = "all",
    tasks: Annotated[
        str | None,
        typer.Option(help="Names separated by commas, or all [default: all; with --quick the first].", show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(help="lab, or the folder of a lab of two training seeds or more.")] = "lab",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of <domain>.jsonl[.gz] that the lab was trained on [default: bundled text].", show_default=False),
    ] = None,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Also train models from scratch on half of each forget set: minutes each.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few steps, few documents: does everything work here? Not for publication.")
    ] = False,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Results folder [default: results/MODEL, -quick added].", show_default=False)
    ] = None,
    jobs: Jobs = None,
    plugin: Plugins = [],  # noqa: B006
) -> int:
    """Try the metrics themselves on models of which the truth is known; only what is not on record yet is measured."""
    import os

    from benchmark import progress, registry, store
    from benchmark.meta import quantities, record, run, trials
    from benchmark.meta.report import report

    for path in plugin:
        registry.load_plugin(path)
    warn_of_broken_plugins()
    chosen = quantities.asked(names(metrics))
    design = trials.design_for(model, data, plugin, quick, scratch)
    asked = names(tasks or (design.lab_tasks[0] if quick else registry.ALL))
    planned = trials.trials(design, design.lab_tasks if registry.ALL in asked else asked)
    folder = out_folder or Path("results") / f"{design.source.name}{'-quick' * quick}"
    todo = run.missing(design, planned, chosen, folder)
    count = sum(len(part.trials) for part in todo)
    err.print(f"{sum(map(len, planned))} models, {count} to be measured; records in {folder / record.FOLDER}", soft_wrap=True)
    if todo:
        with progress.counted(count, err) as told:
            run.run(todo, jobs or os.cpu_count() or 1, lambda trial: told(trial.name))
    files = report(record.read_all(folder), quantities.untried(), design.lab_tasks)
    for name, content in files.items():
        store.write_file(folder / name, content)
    out.print(files["metrics.md"].decode(), markup=False, soft_wrap=True)
    return 0
