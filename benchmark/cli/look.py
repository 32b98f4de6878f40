"""`bench list` and `bench show`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmark.cli.terminal import Plugins, out, warn_of_broken_plugins

PUBLISHED = Path("results/lab")
"""The board of the lab, in a clone of the repository."""


def list_(
    what: Annotated[Literal["methods", "tasks", "models", "metrics"], typer.Argument(help="What to list.")],
    plugin: Plugins = [],  # noqa: B006
) -> int:
    """List what can be named: methods, tasks, models or metrics, a line each."""
    from benchmark import headline, registry, source
    from benchmark.text.sources import texts

    for path in plugin:
        registry.load_plugin(path)
    if what == "models":
        lines = [(source.LAB, "the embedded lab model, with an exact reference for every task"), *_models()]
    elif what == "tasks":
        lines = [(name, task.description) for text in (None, *texts()[1:]) for name, task in registry.tasks(text).items()]
    elif what == "metrics":
        lines = [(name, f"{headline.AXIS:<10}  {'':<4}  {quantity.summary}") for name, quantity in headline.QUANTITIES.items()]
        lines += [
            (name, f"{metric.axis:<10}  {'core' if metric.core else 'full'}  {metric.summary}")
            for name, metric in registry.metrics().items()
        ]
    else:
        lines = [(name, entry.summary) for name, entry in registry.methods().items()]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        out.print(f"{name:<{width}}  {text}", markup=False, soft_wrap=True)
    warn_of_broken_plugins()
    return 0


def _models() -> Iterator[tuple[str, str]]:
    from benchmark.catalogue import catalogue
    from benchmark.hub import cached

    yield "", f"{'parameters':>10}  {'context':>7}  {'licence':<14}  {'commit':<7}  {'here':<6}  repository"
    for name, known in catalogue().items():
        here = "yes" if cached(known.repository, known.revision) else "main" if cached(known.repository) else "no"
        size = f"{known.parameters / 1000:.2f} G" if known.parameters >= 1000 else f"{known.parameters} M"
        where = known.repository + " (gated: accept its terms there)" * known.gated
        yield name, f"{size:>10}  {known.context:>7,}  {known.licence:<14}  {(known.revision or 'main')[:7]:<7}  {here:<6}  {where}"


def show(
    name: Annotated[str, typer.Argument(help="Name of a method or of a metric.")],
    results: Annotated[
        Path | None, typer.Option(help="Results folder that a metric's values are told from [default: results/lab].", show_default=False)
    ] = None,
    plugin: Plugins = [],  # noqa: B006
) -> int:
    """Show what a method does, where it comes from, and its hyper-parameters; or how to read a metric, and what it gave."""
    import inspect

    from benchmark import headline, registry
    from benchmark.describe import card, describe_fields, headline_card
    from benchmark.errors import unknown_name

    for path in plugin:
        registry.load_plugin(path)
    if name in headline.QUANTITIES or name in registry.metrics():
        on_record = [*_on_record(name, results)]  # first, as it may be refused
        shown = headline_card(headline.QUANTITIES[name]) if name in headline.QUANTITIES else card(registry.metric(name))
        for line in (*shown, *on_record):
            out.print(line, markup=False, soft_wrap=True)
        return 0
    if name not in registry.methods():
        raise unknown_name("method or metric", name, [*registry.methods(), *headline.QUANTITIES, *registry.metrics()])
    entry = registry.method(name)
    out.print(f"{entry.name}  ({entry.origin})\n", markup=False, soft_wrap=True)
    out.print(inspect.getdoc(entry.cls) or "", markup=False, soft_wrap=True)
    out.print("\nHyper-parameters, changed with --set METHOD.FIELD=VALUE:", markup=False)
    for field in describe_fields(entry):
        out.print(f"  {field.name}: {field.type} = {field.default!r}  {field.description}", markup=False, soft_wrap=True)
    return 0


def _on_record(metric: str, results: Path | None) -> Iterator[str]:
    """What a metric gave for target and reference where a board was run."""
    from benchmark import store
    from benchmark.errors import InputError
    from benchmark.headline import QUANTITIES
    from benchmark.leaderboard.panel_values import told_headline, told_values
    from benchmark.leaderboard.rows import ORIGINAL

    folder = results or PUBLISHED
    if results is not None and not results.is_dir():
        raise InputError(f"{results}: no such results folder; `bench run` makes one")
    if metric in QUANTITIES and QUANTITIES[metric].target is not None:
        return  # by construction
    lines = (told_headline if metric in QUANTITIES else told_values)(metric, store.read_all(folder, ORIGINAL))
    if lines:
        yield f"\nin {folder}, at the untouched model and the reference:"
        yield from (f"  {line}" for line in lines)
    elif results is not None:
        yield f"\nin {folder}: not measured"
