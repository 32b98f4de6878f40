"""`bench sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli import teaching
from benchmark.cli.executor import Cpus, Gpus, Jobs, Name, chosen
from benchmark.cli.options import (
    AllowPickle,
    Data,
    Device,
    DeviceMap,
    Dtype,
    GradientCheckpointing,
    Limit,
    Memory,
    Methods,
    Model,
    TrustRemoteCode,
    in_bytes,
)
from benchmark.cli.terminal import FAILED, Plugins, err, names, out, say_fallbacks
from benchmark.errors import InputError

TRIALS = 6
"""Settings tried of every method unless asked otherwise: as many as each one's search space has."""


def sweep(
    methods: Methods = "all",
    model: Model = "lab",
    tasks: Annotated[str, typer.Option(help="Names separated by commas, or all.")] = "all",
    data: Data = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Settings tried of every method, from its own search space [default: 6].", show_default=False)
    ] = None,
    grid: Annotated[
        list[str],
        typer.Option(
            metavar="METHOD.FIELD=V1,V2",
            help="Values to try instead; several fields of a method are multiplied, methods without any are run as they are. Repeatable.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    set_: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="METHOD.FIELD=VALUE", help="Change a hyper-parameter of all trials; may be repeated.", show_default=False
        ),
    ] = [],  # noqa: B006
    setting: teaching.SettingOption = None,
    teach: teaching.TeachOption = [],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each setting, with seeds 0, 1, ...")] = 1,
    limit: Limit = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Results folder [default: results/MODEL/sweep, -DTYPE, -limit-N or -SETTING added].", show_default=False
        ),
    ] = None,
    executor: Name = "local",
    jobs: Jobs = None,
    cpus_per_cell: Cpus = None,
    gpus_per_cell: Gpus = None,
    device: Device = "cpu",
    device_map: DeviceMap = None,
    dtype: Dtype = "float32",
    memory: Memory = None,
    gradient_checkpointing: GradientCheckpointing = False,
    allow_pickle: AllowPickle = False,
    trust_remote_code: TrustRemoteCode = False,
    plugin: Plugins = [],  # noqa: B006
) -> int:
    """Try settings of every method, as many for each or a grid, and say on the validation halves which is best and how much they matter."""
    from benchmark import progress, registry, runner, store
    from benchmark import sweep as sweeping
    from benchmark.loading import Loading
    from benchmark.plan import Options, plan
    from benchmark.record import Protocol
    from benchmark.source import resolve_model
    from benchmark.sweep.report import report

    if grid and trials is not None:
        raise InputError("--trials goes with the methods' own search spaces; with --grid the grid says what is tried")
    for path in plugin:
        registry.load_plugin(path)
    loading = Loading(device, device_map, dtype, allow_pickle, trust_remote_code)
    source = resolve_model(model, loading)
    variant = f"-{dtype}" * (dtype != "float32") + ("" if limit is None else f"-limit-{limit}") + (f"-{setting}" if setting else "")
    folder = out_folder or Path("results") / source.name / f"sweep{variant}"
    options = Options(
        methods=names(methods),
        tasks=names(tasks),
        model=model,
        data=data,
        seeds=seeds,
        settings=set_,
        plugins=plugin,
        protocol=Protocol(limit=limit),
        loading=loading,
        memory=in_bytes(memory),
        gradient_checkpointing=gradient_checkpointing,
        elsewhere=executor != "local",
        setting=setting,
        recipe=teaching.recipe(teach, quick=False),
        out=folder,
    )
    entries = list(registry.methods().values()) if "all" in options.methods else [registry.method(name) for name in options.methods]
    if grid:
        tried = sweeping.grids(grid, entries, set_)
    else:
        sweeping.check_free(entries, set_)
        tried = {entry.name: sweeping.settings(entry, trials or TRIALS) for entry in entries}
    _, cells = plan(options, tried)
    teaching.check_heeded(teach, cells)
    say_fallbacks(folder)
    cells = [cell for cell in cells if cell.spec.method not in registry.RESERVED]
    place = chosen(executor, jobs, cpus_per_cell, gpus_per_cell, device_map or device, source.folder)
    todo = runner.missing(cells, folder)
    err.print(f"{len(cells)} cells, {len(cells) - len(todo)} on record in {folder}, {len(todo)} to run", soft_wrap=True)
    if todo:
        with progress.shown(len(todo), err, quiet=False) as told:
            runner.run(todo, folder, place, told)
    asked = list(dict.fromkeys(cell.spec.task for cell in cells))
    records = [record for cell in cells if (record := store.find(folder, cell.spec)) is not None]
    varied = {name: list(points[0]) for name, points in tried.items()}
    files = report(records, entries, asked, options.protocol.headline, varied)
    for name, content in files.items():
        store.write_file(folder / name, content)
    out.print(files["sweep.md"].decode(), markup=False, soft_wrap=True)
    return FAILED if any(record.status in ("failed", "diverged") for record in records) else 0
