"""`bench run` and `bench leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli import removal, teaching
from benchmark.cli.executor import Cpus, Gpus, Jobs, Name, chosen
from benchmark.cli.options import (
    AllowPickle,
    Data,
    Device,
    DeviceMap,
    Dtype,
    GradientCheckpointing,
    Limit,
    Lora,
    Memory,
    Methods,
    Model,
    TrustRemoteCode,
    check_lora,
    fitted,
    in_bytes,
)
from benchmark.cli.terminal import FAILED, Plugins, err, names, out, say_fallbacks, warn_of_broken_plugins
from benchmark.errors import InputError

QUICK = {"max_steps": 4, "growth": 2.0, "limit": 3, "method_tokens": 8192, "validation_tokens": 2048, "test_tokens": 2048}
"""What `--quick` cuts of the protocol: a trial of the machinery, not a measurement to publish."""


def run(
    methods: Methods = "all",
    model: Model = "lab",
    tasks: Annotated[
        str | None,
        typer.Option(help="Names separated by commas, or all [default: all; with --quick one of each kind].", show_default=False),
    ] = None,
    data: Data = None,
    forget: removal.Forget = None,
    retain: removal.Retain = None,
    holdout: removal.Holdout = None,
    save_model: removal.SaveModel = None,
    setting: teaching.SettingOption = None,
    teach: teaching.TeachOption = [],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method, with seeds 0, 1, ...")] = 1,
    target_seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of the target model to run every method on, with target seeds 0, 1, ...; the lab has 2.")
    ] = 1,
    set_: Annotated[
        list[str],
        typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="Change a hyper-parameter; may be repeated.", show_default=False),
    ] = [],  # noqa: B006
    utility: Annotated[
        str | None,
        typer.Option(help="lm-eval tasks separated by commas, or none [default: two that are packaged].", show_default=False),
    ] = None,
    panel: Annotated[
        str, typer.Option(help="Metrics measured beside the scores: core, full, none, or names from `bench list metrics`.")
    ] = "core",
    limit: Limit = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few steps, few documents: does everything work here? Not for publication.")
    ] = False,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Results folder [default: results/MODEL, -quick, -limit-N or -SETTING added].", show_default=False),
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
    lora: Lora = "never",
    allow_pickle: AllowPickle = False,
    trust_remote_code: TrustRemoteCode = False,
    plugin: Plugins = [],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is on record already.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run cells again that are on record as failed.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> int:
    """Run methods on tasks and publish the leaderboard; only what is not on record yet is run."""
    from benchmark import progress, runner
    from benchmark import utility as utilities
    from benchmark.loading import Loading
    from benchmark.plan import Options, plan
    from benchmark.record import Protocol
    from benchmark.source import resolve_model

    check_lora(lora, executor)
    loading = Loading(device, device_map, dtype, allow_pickle, trust_remote_code)
    asked = utilities.asked(utility)
    limited = {} if limit is None else {"limit": limit}
    options = Options(
        methods=names(methods),
        tasks=names(tasks or (_one_of_each_kind(data) if quick else "all")),
        model=model,
        removal=removal.asked((forget, retain, holdout), tasks, data, save_model),
        data=data,
        few=quick,
        seeds=seeds,
        target_seeds=target_seeds,
        settings=set_,
        plugins=plugin,
        protocol=Protocol.model_validate({**(QUICK if quick else {}), **limited, "utility": asked}),
        panel=panel,
        memory=in_bytes(memory),
        gradient_checkpointing=gradient_checkpointing,
        loading=loading,
        elsewhere=executor != "local",
        setting=setting,
        recipe=teaching.recipe(teach, quick),
        out=out_folder,
        variant=(
            f"-{dtype}" * (dtype != "float32")
            + "-quick" * quick
            + "".join(f"-limit-{count}" for count in limited.values())
            + (f"-{setting}" if setting else "")
        ),
    )
    folder, cells = plan(options)
    teaching.check_heeded(teach, cells)
    warn_of_broken_plugins()
    say_fallbacks(folder)
    source = resolve_model(model, loading)
    if source.notice:
        err.print(f"bench: {source.notice}", markup=False, soft_wrap=True)
    place = chosen(executor, jobs, cpus_per_cell, gpus_per_cell, device_map or device, source.folder)
    if lora == "auto":
        cells = fitted(cells, set_, place)
    todo = runner.missing(cells, folder, retry_failed, fresh)
    if not quiet:
        err.print(f"{len(cells)} cells, {len(cells) - len(todo)} on record in {folder}, {len(todo)} to run", soft_wrap=True)
    if todo:
        with progress.shown(len(todo), err, quiet) as report:
            runner.run(todo, folder, place, report)
    code = publish(folder, quiet)
    return code if save_model is None else max(code, removal.save(folder, cells, save_model))


def leaderboard(
    folder: Annotated[Path, typer.Argument(help="Results folder with records in it.")],
    into: Annotated[
        Path | None,
        typer.Option(help="Markdown page to put the overall table into, between <!-- board --> and <!-- /board -->.", show_default=False),
    ] = None,
) -> int:
    """Build the tables and figures again from the records, with no model at hand."""
    code = publish(folder, quiet=False)
    if into is not None:
        from benchmark.leaderboard.render import put_into

        put_into(into, folder)
    return code


def publish(folder: Path, quiet: bool) -> int:
    """Write the leaderboard of a folder, show it unless `quiet`, and give the exit code."""
    from benchmark import store
    from benchmark.leaderboard import render

    if not folder.is_dir():
        raise InputError(f"{folder}: no such results folder; `bench run` makes one")
    board = render.publish(folder)
    records = store.read_all(folder)
    if not quiet:
        removal.say_advice(records)
        out.print(render.terminal_table(board))
        out.print(f"{folder / 'leaderboard.md'} (.csv, .json, .html) and {folder / 'figures'}", markup=False, soft_wrap=True)
    failed = [record for record in records if record.status in ("failed", "diverged")]
    for record in failed:
        err.print(f"{record.spec.task} {record.spec.method}: {record.status}: {record.reason}", markup=False, soft_wrap=True)
    return FAILED if failed else 0


def _one_of_each_kind(data: Path | None) -> str:
    from benchmark import registry

    first: dict[str, str] = {}
    for task in registry.tasks(None if data is None else str(data)).values():
        first.setdefault(task.removes, task.name)
    return ",".join(first.values())
