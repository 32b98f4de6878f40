"""The command line. Everything heavy is imported inside the commands, so that help comes at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from benchmark.errors import InputError

app = typer.Typer(
    help="Which way of making a language model forget is best, and at what cost.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
lab_app = typer.Typer(help="The embedded models with the exact answer.", rich_markup_mode=None)
app.add_typer(lab_app, name="lab")

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
USAGE: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's UsageError: of the copy of Click inside Typer, or of the installed one where Typer has none."""

QUICK = {"max_steps": 4, "growth": 2.0, "limit": 3}
"""What `--quick` cuts of the protocol: a trial of the machinery, not a measurement to publish."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True, highlight=False)

Plugins = Annotated[
    list[Path], typer.Option("--plugin", help="Python file with more methods or tasks; may be repeated.", show_default=False)
]


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except (InputError, USAGE) as error:
        message = error.format_message() if isinstance(error, USAGE) else str(error)  # type: ignore[attr-defined]
        err.print(f"bench: error: {' '.join(message.splitlines())}", markup=False, soft_wrap=True)
        code = BAD_INPUT
    except (typer.Abort, KeyboardInterrupt):
        err.print("bench: interrupted; what was measured is kept, and the same command goes on from there")
        code = INTERRUPTED
    sys.exit(code)


@app.callback(invoke_without_command=True)
@lab_app.callback(invoke_without_command=True)
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        out.print(context.get_help(), markup=False, soft_wrap=True)


@app.command()
def run(
    methods: Annotated[str, typer.Option(help="Names separated by commas, or all.")] = "all",
    model: Annotated[str, typer.Option(help="lab, a local folder, an alias, or a hub repository.")] = "lab",
    tasks: Annotated[
        str | None,
        typer.Option(help="Names separated by commas, or all [default: all; with --quick one of each kind].", show_default=False),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of <domain>.jsonl[.gz] to use instead of the bundled text.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method, with seeds 0, 1, ...")] = 1,
    set_: Annotated[
        list[str],
        typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="Change a hyper-parameter; may be repeated.", show_default=False),
    ] = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(help="Most documents in each half of each evaluation set.", show_default=False)] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few steps, few documents: does everything work here? Not for publication.")
    ] = False,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Results folder [default: results/MODEL, -quick or -limit-N added].", show_default=False)
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes [default: one a core for a small model, else one].", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    plugin: Plugins = [],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is on record already.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run cells again that are on record as failed.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> int:
    """Run methods on tasks and publish the leaderboard; only what is not on record yet is run."""
    import os

    from benchmark import progress, runner
    from benchmark.plan import Options, plan
    from benchmark.record import Protocol
    from benchmark.source import resolve_model

    if limit is not None and limit < 2:
        raise InputError(f"--limit {limit}: at least 2 documents are needed for an interval")
    limited = {} if limit is None else {"limit": limit}
    options = Options(
        methods=_names(methods),
        tasks=_names(tasks or (_one_of_each_kind() if quick else "all")),
        model=model,
        data=data,
        seeds=seeds,
        settings=set_,
        plugins=plugin,
        protocol=Protocol.model_validate({**(QUICK if quick else {}), **limited}),
        device=device,
        out=out_folder,
        variant="-quick" * quick + "".join(f"-limit-{count}" for count in limited.values()),
    )
    folder, cells = plan(options)
    _warn_of_broken_plugins()
    todo = runner.missing(cells, folder, retry_failed, fresh)
    jobs = jobs or runner.fitting_jobs(resolve_model(model).folder, device, os.cpu_count() or 1)
    if not quiet:
        err.print(f"{len(cells)} cells, {len(cells) - len(todo)} on record in {folder}, {len(todo)} to run", soft_wrap=True)
    if todo:
        with progress.shown(len(todo), err, quiet) as report:
            runner.run(todo, folder, jobs, report)
    return _publish(folder, quiet)


@app.command("list")
def list_(
    what: Annotated[Literal["methods", "tasks", "models"], typer.Argument(help="What to list.")],
    plugin: Plugins = [],  # noqa: B006
) -> int:
    """List what can be named: methods, tasks or models, a line each."""
    from benchmark import registry, source

    for path in plugin:
        registry.load_plugin(path)
    if what == "models":
        lines = [(source.LAB, "the embedded lab model, with an exact reference for every task"), *source.ALIASES.items()]
    elif what == "tasks":
        lines = [(name, task.description) for name, task in registry.tasks().items()]
    else:
        lines = [(name, entry.summary) for name, entry in registry.methods().items()]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        out.print(f"{name:<{width}}  {text}", markup=False, soft_wrap=True)
    _warn_of_broken_plugins()
    return 0


@app.command()
def show(
    method: Annotated[str, typer.Argument(help="Name of a method.")],
    plugin: Plugins = [],  # noqa: B006
) -> int:
    """Show what a method does, where it comes from, and its hyper-parameters."""
    import inspect

    from benchmark import registry
    from benchmark.describe import describe_fields

    for path in plugin:
        registry.load_plugin(path)
    entry = registry.method(method)
    out.print(f"{entry.name}  ({entry.origin})\n", markup=False, soft_wrap=True)
    out.print(inspect.getdoc(entry.cls) or "", markup=False, soft_wrap=True)
    out.print("\nHyper-parameters, changed with --set METHOD.FIELD=VALUE:", markup=False)
    for field in describe_fields(entry):
        out.print(f"  {field.name}: {field.type} = {field.default!r}  {field.description}", markup=False, soft_wrap=True)
    return 0


@app.command()
def sweep(
    methods: Annotated[str, typer.Option(help="Names separated by commas, or all.")] = "all",
    model: Annotated[str, typer.Option(help="lab, a local folder, an alias, or a hub repository.")] = "lab",
    tasks: Annotated[str, typer.Option(help="Names separated by commas, or all.")] = "all",
    data: Annotated[Path | None, typer.Option(help="Folder of <domain>.jsonl[.gz] to use instead of the bundled text.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings tried of every method.")] = 6,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Results folder [default: results/MODEL/sweep].", show_default=False)
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes [default: one a core for a small model, else one].", show_default=False)
    ] = None,
    plugin: Plugins = [],  # noqa: B006
) -> int:
    """Try settings of every method, as many for each, and say which is best on the validation halves."""
    import os

    from benchmark import progress, registry, runner, store
    from benchmark import sweep as sweeping
    from benchmark.plan import Options, plan
    from benchmark.record import Protocol
    from benchmark.source import resolve_model

    for path in plugin:
        registry.load_plugin(path)
    source = resolve_model(model)
    folder = out_folder or Path("results") / source.name / "sweep"
    options = Options(methods=_names(methods), tasks=_names(tasks), model=model, data=data, plugins=plugin, out=folder)
    entries = list(registry.methods().values()) if "all" in options.methods else [registry.method(name) for name in options.methods]
    _, cells = plan(options, {entry.name: sweeping.settings(entry, trials) for entry in entries})
    cells = [cell for cell in cells if cell.spec.method not in registry.RESERVED]
    todo = runner.missing(cells, folder)
    err.print(f"{len(cells)} cells, {len(cells) - len(todo)} on record in {folder}, {len(todo)} to run", soft_wrap=True)
    if todo:
        with progress.shown(len(todo), err, quiet=False) as report:
            runner.run(todo, folder, jobs or runner.fitting_jobs(source.folder, "cpu", os.cpu_count() or 1), report)
    asked = list(dict.fromkeys(cell.spec.task for cell in cells))
    records = [record for cell in cells if (record := store.find(folder, cell.spec)) is not None]
    budget = Protocol().budgets[1]
    text = sweeping.table(sweeping.trials(records, entries, asked, budget), asked, budget)
    store.write_file(folder / "sweep.md", text.encode())
    out.print(text, markup=False, soft_wrap=True)
    return FAILED if any(record.status in ("failed", "diverged") for record in records) else 0


@app.command()
def leaderboard(
    folder: Annotated[Path, typer.Argument(help="Results folder with records in it.")],
) -> int:
    """Build the tables and figures again from the records, with no model at hand."""
    return _publish(folder, quiet=False)


def _publish(folder: Path, quiet: bool) -> int:
    from benchmark import store
    from benchmark.leaderboard import render

    if not folder.is_dir():
        raise InputError(f"{folder}: no such results folder; `bench run` makes one")
    board = render.publish(folder)
    if not quiet:
        out.print(render.terminal_table(board))
        out.print(f"{folder / 'leaderboard.md'} (.csv, .json, .html) and {folder / 'figures'}", markup=False, soft_wrap=True)
    failed = [record for record in store.read_all(folder) if record.status in ("failed", "diverged")]
    for record in failed:
        err.print(f"{record.spec.task} {record.spec.method}: {record.status}: {record.reason}", markup=False, soft_wrap=True)
    return FAILED if failed else 0


def _one_of_each_kind() -> str:
    from benchmark import registry

    first: dict[str, str] = {}
    for task in registry.tasks().values():
        first.setdefault(task.removes, task.name)
    return ",".join(first.values())


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _warn_of_broken_plugins() -> None:
    from benchmark import registry

    for name, reason in registry.broken().items():
        err.print(f"bench: warning: plugin {name} cannot be imported: {reason}", markup=False, soft_wrap=True)


@lab_app.command("train")
def lab_train(
    out_folder: Annotated[Path, typer.Option("--out", help="Where the lab goes.")] = Path("lab"),
    tasks: Annotated[str, typer.Option(help="Tasks to train a reference for; names separated by commas, or all.")] = "all",
    data: Annotated[Path | None, typer.Option(help="Folder of <domain>.jsonl[.gz] to use instead of the bundled text.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=2, help="2: train everything twice and measure the noise floor.")] = 1,
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
    chosen = registry.tasks().values() if tasks == "all" else [registry.task(name) for name in _names(tasks)]
    splits = {task.name: split(task, load_corpus(data or task.corpus)) for task in chosen}
    with progress.training(err) as report:
        lab = make_lab(splits, recipe, out_folder, jobs or os.cpu_count() or 1, seeds, report)
    out.print(
        f"{out_folder}: {1 + len(lab.references)} models of {lab.parameters:,} parameters; use it with --model {out_folder}", soft_wrap=True
    )
    return 0
