"""From what the user asked for to the list of cells."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark import registry, utility
from benchmark.cell import Cell
from benchmark.corpus import load_corpus
from benchmark.errors import InputError, unknown_name
from benchmark.implant import Recipe, Teaching, setting_for, setting_for_request
from benchmark.loading import ON_CPU, Loading
from benchmark.model import model_fingerprint
from benchmark.record import Protocol, Scalar, Setting, Spec
from benchmark.registry import ALL
from benchmark.removal import Removal, read_removal, request_task
from benchmark.source import ModelSource, resolve_model
from benchmark.splits import Splits, split
from benchmark.task import Task
from benchmark.text.folder import data_folder, named_text


@dataclass(frozen=True)
class Options:
    """A run as asked for on the command line."""

    methods: Sequence[str] = (ALL,)
    tasks: Sequence[str] = (ALL,)
    removal: Removal | None = None
    """The user's own request: the one task, in place of `tasks`."""
    model: str = "lab"
    data: Path | None = None
    seeds: int = 1
    settings: Sequence[str] = ()
    """`method.field=value`."""
    plugins: Sequence[Path] = ()
    protocol: Protocol = field(default_factory=Protocol)
    panel: tuple[str, ...] = ()
    """Metrics measured beside the scores."""
    loading: Loading = ON_CPU
    memory: int | None = None
    """Bytes that a cell may use; None: what is free."""
    gradient_checkpointing: bool = False
    elsewhere: bool = False
    """Cells run on other machines, and the device is one of theirs."""
    setting: Setting | None = None
    """Of every task; None: of each its own."""
    recipe: Recipe = field(default_factory=Recipe)
    """How documents are taught in the implanted setting."""
    out: Path | None = None
    """Default: `results/<model><variant>`."""
    variant: str = ""
    """Keeps the default results folder of a protocol of its own apart, as in `-quick`."""


def plan(options: Options, trials: Mapping[str, Sequence[Mapping[str, Scalar]]] | None = None) -> tuple[Path, list[Cell]]:
    """The results folder and every cell of a run, reference rows first, task by task.

    `trials` gives methods several settings of their fields, a cell each; otherwise each has its defaults.

    Raises:
        InputError: a name is not known, a setting does not fit, or the model or data cannot be used.
    """
    for plugin in options.plugins:
        registry.load_plugin(plugin)
    if options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: at least one seed is needed")
    if not options.elsewhere:
        options.loading.check()
    utility.check(options.protocol.utility)
    entries = [registry.method(name) for name in _names("--methods", options.methods, registry.methods())]
    overrides = _overrides(options.settings, [entry.name for entry in entries])
    source = resolve_model(options.model, options.loading)
    out = _results_folder(options, source.name)
    tasks, data = ([request_task()], None) if options.removal is not None else _tasks(options, source, out)
    fingerprint = model_fingerprint(source.folder, options.loading)
    source_hashes = {entry.name: entry.source_hash() for entry in entries}
    cells = []
    for task in tasks:
        if options.removal is None:
            setting = setting_for(source, task, options.setting)
            splits = split(task, load_corpus(data or task.corpus))
            source.reference(task.name, splits.fingerprint())
        else:
            setting = setting_for_request(options.setting)
            splits = read_removal(options.removal).splits
        teaching = _teaching(options, source, fingerprint, task, splits) if setting == "implanted" and source.lab is None else None
        shared: dict[str, Any] = {
            "task": task.name,
            "model": source.name,
            "model_fingerprint": teaching.fingerprint if teaching else fingerprint,
            "dtype": options.loading.dtype,
            "setting": setting,
            "data_fingerprint": splits.fingerprint(),
        }
        specs = [
            Spec(method=name, source="", hyperparameters={}, seed=0, protocol=options.protocol, **shared) for name in registry.RESERVED
        ]
        for entry in entries:
            for trial in (trials or {}).get(entry.name, [{}]):
                fields = _fields(entry, {**trial, **overrides.get(entry.name, {})})
                cell = Spec(
                    method=entry.name, source=source_hashes[entry.name], hyperparameters=fields, seed=0, protocol=options.protocol, **shared
                )
                specs += [cell.model_copy(update={"seed": seed}) for seed in range(options.seeds)]
        cells += [
            Cell(
                spec,
                str(teaching.folder) if teaching else options.model,
                data,
                tuple(options.plugins),
                options.loading,
                out,
                panel=options.panel,
                memory=options.memory,
                gradient_checkpointing=options.gradient_checkpointing,
                removal=options.removal,
                teaching=teaching,
            )
            for spec in specs
        ]
    return out, cells


def _tasks(options: Options, source: ModelSource, out: Path) -> tuple[list[Task], Path | None]:
    """The tasks asked for, and the folder of their text; None for the bundled text."""
    text = named_text(options.data, source)
    tasks = [registry.task(name) for name in _names("--tasks", options.tasks, registry.tasks(text))]
    for task in tasks:
        if task.text not in (None, text) and (text is not None or options.data is None):
            raise InputError(f"task {task.name!r} is over a text of its own; ask for it with --data {task.text}")
    return tasks, data_folder(options.data, source, out)


def _results_folder(options: Options, name: str) -> Path:
    """The folder asked for, or one for the model; every removal request has one of its own."""
    request = "" if options.removal is None else f"-request-{read_removal(options.removal).splits.fingerprint()[:8]}"
    return options.out or Path("results") / f"{name}{request}{options.variant}"


def _teaching(options: Options, source: ModelSource, fingerprint: str, task: Task, splits: Splits) -> Teaching:
    return Teaching(
        model=options.model if source.repository else str(source.folder.resolve()),
        base_fingerprint=fingerprint,
        task=task,
        splits=splits,
        protocol=options.protocol,
        recipe=options.recipe,
        loading=options.loading,
        memory=options.memory,
        gradient_checkpointing=options.gradient_checkpointing,
        elsewhere=options.elsewhere,
    )


def _names(option: str, asked: Sequence[str], known: Mapping[str, object]) -> list[str]:
    if not asked:
        raise InputError(f"{option}: no name given; name some, or {ALL}")
    return list(known) if ALL in asked else list(dict.fromkeys(asked))


def _fields(entry: registry.MethodEntry, overrides: Mapping[str, Scalar]) -> dict[str, Scalar]:
    try:
        fields: dict[str, Scalar] = dataclasses.asdict(entry.build(overrides))  # type: ignore[call-overload]
    except Exception as error:
        if overrides:
            raise InputError(f"--set {entry.name}: {error}") from None
        return {}  # a plugin that cannot be built with its own defaults: its cells will fail, and say why
    for name, value in fields.items():
        if not isinstance(value, Scalar) or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"method {entry.name!r}: {name} is {value!r}; a hyper-parameter is a bool, a finite number, a string or None")
    return fields


def _overrides(settings: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Scalar]]:
    found: dict[str, dict[str, Scalar]] = {}
    for setting in settings:
        name, field, text = target("--set", setting, "value", "lr=1e-5", methods)
        found.setdefault(name, {})[field] = value("--set", registry.method(name), field, text)
    return found


def target(option: str, setting: str, form: str, example: str, methods: Sequence[str]) -> tuple[str, str, str]:
    """The method, the field and the text behind it of an option like `--set method.field=value`.

    Raises:
        InputError: it has another form, or the method is none of those asked for.
    """
    left, equals, text = setting.partition("=")
    name, dot, field = left.rpartition(".")
    if not equals or not dot:
        raise InputError(f"{option} {setting}: expected method.field={form}, as in gradient-ascent.{example}")
    if name not in methods:
        raise unknown_name(f"method in {option}", name, methods)
    return name, field, text


def value(option: str, entry: registry.MethodEntry, field: str, text: str) -> Scalar:
    """A value of a method's field from the text given with an option.

    Raises:
        InputError: the method has no such field, or the text is no value of its type.
    """
    hints = typing.get_type_hints(entry.cls)
    names = [f.name for f in dataclasses.fields(entry.cls)]  # type: ignore[arg-type]
    if field not in names:
        raise unknown_name(f"field of {entry.name}", field, names)
    return parse(hints[field], text, where=f"{option} {entry.name}.{field}={text}")


def parse(kind: object, text: str, where: str) -> Scalar:
    """A value of a field's type from its text.

    Raises:
        InputError: the text is no such value.
    """
    options = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        if text not in options:
            raise InputError(f"{where}: expected one of {', '.join(map(str, options))}")
        return text
    if type(None) in options:
        if text.lower() == "none":
            return None
        return parse(next(option for option in options if option is not type(None)), text, where)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float):
            return int(text) if kind is int else float(text)
    except (ValueError, KeyError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}
        raise InputError(f"{where}: expected {expected[kind]}") from None  # type: ignore[index]
    return text
