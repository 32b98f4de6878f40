"""From what the user asked for to the list of cells."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmark import registry, utility
from benchmark.cell import Cell
from benchmark.corpus import load_corpus
from benchmark.errors import InputError, unknown_name
from benchmark.implant import Recipe, Teaching, setting_for, setting_for_request
from benchmark.loading import ON_CPU, Loading
from benchmark.model import model_fingerprint
from benchmark.panel import panel
from benchmark.record import Protocol, Scalar, Setting, Spec
from benchmark.registry import ALL
from benchmark.removal import Removal, read_removal, request_task
from benchmark.source import ModelSource, resolve_model
from benchmark.splits import Splits, split
from benchmark.task import Task
from benchmark.text.build import FEW, MOST
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
    few: bool = False
    """Whether hub text is laid out in small, for a trial of the machinery."""
    seeds: int = 1
    """Of every method."""
    target_seeds: int = 1
    """Trainings of the target model that they are all run on."""
    settings: Sequence[str] = ()
    """`method.field=value`."""
    plugins: Sequence[Path] = ()
    protocol: Protocol = field(default_factory=Protocol)
    panel: str = panel.NONE
    """Metrics measured beside the scores: core, full, none, or names separated by commas."""
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
    """The results folder and every cell of a run, target seed by target seed, task by task, reference rows first.

    `trials` gives methods several settings of their fields, a cell each; otherwise each has its defaults.

    Raises:
        InputError: a name is not known, a setting does not fit, or the model or data cannot be used.
    """
    for plugin in options.plugins:
        registry.load_plugin(plugin)
    if options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: at least one seed is needed")
    if options.target_seeds < 1:
        raise InputError(f"--target-seeds {options.target_seeds}: at least one is needed")
    if options.target_seeds > 1 and options.removal is not None:
        raise InputError(f"--target-seeds {options.target_seeds}: a removal request is about one model; leave --target-seeds out")
    if not options.elsewhere:
        options.loading.check()
    utility.check(options.protocol.utility)
    entries = [registry.method(name) for name in _names("--methods", options.methods, registry.methods())]
    overrides = _overrides(options.settings, [entry.name for entry in entries])
    source = resolve_model(options.model, options.loading)
    out = _results_folder(options, source.name)
    tasks, data = ([request_task()], None) if options.removal is not None else _tasks(options, source, out)
    options = dataclasses.replace(options, data=data)
    asked = [_asked(task, options, source) for task in tasks]
    runs = [_Run(name, "", {}, seed=0) for name in registry.RESERVED]
    for entry in entries:
        tried = [_fields(entry, {**trial, **overrides.get(entry.name, {})}) for trial in (trials or {}).get(entry.name, [{}])]
        source_hash = entry.source_hash()
        runs += [_Run(entry.name, source_hash, fields, seed) for fields in tried for seed in range(options.seeds)]
    cells = []
    for target_seed in range(options.target_seeds):
        training = source.of_seed(target_seed)
        target = _Target(training, target_seed, model_fingerprint(training.folder, options.loading))
        for each in asked:
            cells += _cells(each, target, runs, options, out)
    return out, cells


class _Run(NamedTuple):
    """What is done to a target model: once for each task and target seed."""

    method: str
    source: str
    hyperparameters: dict[str, Scalar]
    seed: int


class _Target(NamedTuple):
    """One training of the target model."""

    source: ModelSource
    seed: int
    fingerprint: str


@dataclass(frozen=True)
class _Asked:
    """A task, what it is over, and how the model comes to know that."""

    task: Task
    splits: Splits
    setting: Setting
    taught: bool
    """Here, before the cells are run."""


def _asked(task: Task, options: Options, source: ModelSource) -> _Asked:
    if options.removal is None:
        setting = setting_for(source, task, options.setting)
        splits = split(task, load_corpus(options.data or task.corpus))
        source.reference(task.name, splits.fingerprint())
    else:
        setting = setting_for_request(options.setting)
        splits = read_removal(options.removal).splits
    taught = setting == "implanted" and source.lab is None
    if options.target_seeds > source.target_seeds and not taught:
        there = "is one training" if source.target_seeds == 1 else f"are {source.target_seeds} trainings"
        raise InputError(
            f"--target-seeds {options.target_seeds}: task {task.name!r} is about {source.name} as it is, of which there {there};"
            f" ask for no more, or make a lab with as many by `bench lab train --seeds {options.target_seeds}`"
        )
    return _Asked(task, splits, setting, taught)


def _cells(asked: _Asked, target: _Target, runs: Sequence[_Run], options: Options, out: Path) -> list[Cell]:
    """Every cell of one task on one training of the target model."""
    teaching = _teaching(asked, target, options) if asked.taught else None
    shared: dict[str, Any] = {
        "task": asked.task.name,
        "model": target.source.name,
        "target_seed": target.seed,
        "model_fingerprint": teaching.fingerprint if teaching else target.fingerprint,
        "dtype": options.loading.dtype,
        "setting": asked.setting,
        "data_fingerprint": asked.splits.fingerprint(),
        "protocol": options.protocol,
    }
    return [
        Cell(
            Spec(**run._asdict(), **shared),
            str(teaching.folder) if teaching else options.model,
            options.data,
            tuple(options.plugins),
            options.loading,
            out,
            panel=panel.asked(options.panel),
            memory=options.memory,
            gradient_checkpointing=options.gradient_checkpointing,
            removal=options.removal,
            teaching=teaching,
        )
        for run in runs
    ]


def _tasks(options: Options, source: ModelSource, out: Path) -> tuple[list[Task], Path | None]:
    """The tasks asked for, and the folder of their text; None for the bundled text."""
    text = named_text(options.data, source)
    tasks = [registry.task(name) for name in _names("--tasks", options.tasks, registry.tasks(text))]
    for task in tasks:
        if task.text not in (None, text) and (text is not None or options.data is None):
            raise InputError(f"task {task.name!r} is over a text of its own; ask for it with --data {task.text}")
    return tasks, data_folder(options.data, source, out, FEW if options.few else MOST)


def _results_folder(options: Options, name: str) -> Path:
    """The folder asked for, or one for the model; every removal request has one of its own."""
    request = "" if options.removal is None else f"-request-{read_removal(options.removal).splits.fingerprint()[:8]}"
    return options.out or Path("results") / f"{name}{request}{options.variant}"


def _teaching(asked: _Asked, target: _Target, options: Options) -> Teaching:
    return Teaching(
        model=options.model if target.source.repository else str(target.source.folder.resolve()),
        base_fingerprint=target.fingerprint,
        task=asked.task,
        splits=asked.splits,
        protocol=options.protocol,
        recipe=dataclasses.replace(options.recipe, seed=options.recipe.seed + target.seed),
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
