"""Methods, tasks and metrics by name, from any installed distribution or file."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar, get_args

from benchmark import headline
from benchmark.errors import InputError, brief, unknown_name
from benchmark.method import UnlearningMethod
from benchmark.panel.metric import Axis, Metric
from benchmark.record import Scalar
from benchmark.task import Task

GROUP = "unlearning_bench"
"""Entry-point group: each entry names a module or package whose modules define methods, tasks or metrics."""

METRICS = "benchmark.metrics"
"""The metrics that come with the harness."""

RESERVED = ("original", "retrained")
"""Names of the harness's own rows."""

ALL = "all"
"""On the command line: every method, every task."""

M = TypeVar("M", bound=type[UnlearningMethod])
T = TypeVar("T", Task, Metric)


@dataclass(frozen=True)
class MethodEntry:
    """A row of the board: a method class under a name, with the fields that make it this row."""

    name: str
    cls: type[UnlearningMethod]
    preset: Mapping[str, Scalar]

    def build(self, overrides: Mapping[str, Scalar] | None = None) -> UnlearningMethod:
        """The method with its preset and then the overrides applied."""
        return self.cls(**{**self.preset, **(overrides or {})})

    @property
    def summary(self) -> str:
        """First line of the class docstring, and what tells this row from the class's others."""
        preset = ", ".join(f"{field}={value}" for field, value in self.preset.items())
        return (inspect.getdoc(self.cls) or "").partition("\n")[0] + (f" [{preset}]" if preset else "")

    @property
    def origin(self) -> str:
        """`file:line` of the class."""
        return f"{inspect.getsourcefile(self.cls)}:{inspect.getsourcelines(self.cls)[1]}"

    def source_hash(self) -> str:
        """SHA-256 of the file that defines the class."""
        return hashlib.sha256(Path(inspect.getfile(self.cls)).read_bytes()).hexdigest()


_methods: dict[str, MethodEntry] = {}
_tasks: dict[str, Task] = {}
_metrics: dict[str, Metric] = {}
_broken: dict[str, str] = {}
_plugins: dict[Path, list[str]] = {}
_discovered = False


def register(name: str, **preset: Scalar) -> Callable[[M], M]:
    """Class decorator: put a method on the board under `name`, with some fields preset.

    A class may be registered several times, a row each.

    Raises:
        ValueError: the name is taken or reserved, or the class is not a method and a frozen dataclass with these fields,
            all of which have values.
    """

    def decorate(cls: M) -> M:
        if not issubclass(cls, UnlearningMethod):
            raise ValueError(f"method {name!r}: {cls.__name__} must be a subclass of UnlearningMethod")
        parameters = vars(cls).get("__dataclass_params__")
        if parameters is None or not parameters.frozen:
            raise ValueError(f"method {name!r}: {cls.__name__} must be a frozen dataclass (put @dataclass(frozen=True) below @register)")
        fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]  # it is one, see above
        if stray := preset.keys() - fields:
            raise ValueError(f"method {name!r}: {cls.__name__} has no field {sorted(stray)}; it has {sorted(fields)}")
        if bare := {f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING} - preset.keys():
            raise ValueError(f"method {name!r}: {cls.__name__} has no default for {sorted(bare)}; give one, or preset it in @register")
        entry = MethodEntry(name, cls, preset)
        if name in (*RESERVED, ALL):
            raise ValueError(f"method name {name!r} is reserved; choose another")
        if name in _methods:
            raise ValueError(f"method {name!r} is already registered by {_methods[name].origin}; choose another name ({entry.origin})")
        _methods[name] = entry
        return cls

    return decorate


def methods() -> Mapping[str, MethodEntry]:
    """Every method that could be imported, by name."""
    _discover()
    return dict(sorted(_methods.items()))


def tasks(text: str | None = None) -> Mapping[str, Task]:
    """Every task that could be imported: document tasks before domain tasks.

    `text` is a named text; where there are tasks that are over it alone, it is these, otherwise those over the bundled domains.
    """
    _discover()
    over = text if any(task.text == text for task in _tasks.values()) else None
    chosen = [(name, task) for name, task in _tasks.items() if task.text == over]
    return dict(sorted(chosen, key=lambda item: (item[1].removes != "documents", item[0])))


def metrics() -> Mapping[str, Metric]:
    """Every metric that could be imported: by axis, then by name."""
    _discover()
    axes = get_args(Axis)
    return dict(sorted(_metrics.items(), key=lambda item: (axes.index(item[1].axis), item[0])))


def broken() -> Mapping[str, str]:
    """Plugins that could not be imported, and why."""
    _discover()
    return dict(_broken)


def method(name: str) -> MethodEntry:
    """The method of that name.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    if name not in methods():
        raise unknown_name("method", name, methods())
    return _methods[name]


def task(name: str) -> Task:
    """The task of that name.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    _discover()
    if name not in _tasks:
        raise unknown_name("task", name, _tasks)
    return _tasks[name]


def metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    if name not in metrics():
        raise unknown_name("metric", name, metrics())
    return _metrics[name]


def load_plugin(path: Path) -> list[str]:
    """Import a plugin from a file, or every one of a folder, once; the names of the methods, tasks and metrics that it brought.

    Raises:
        InputError: no such file, it raises at import, or it registers nothing.
    """
    if path.is_dir():
        if not (files := sorted(path.glob("*.py"))):
            raise InputError(f"{path}: no plugin file (*.py) in it")
        return [name for file in files for name in load_plugin(file)]
    if not path.is_file():
        raise InputError(f"{path}: no such plugin file")
    path = path.resolve()
    if path in _plugins:
        return _plugins[path]
    _discover()
    before = {*_methods, *_tasks, *_metrics}
    name = f"bench_plugin_{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        _take(module)
    except (Exception, SystemExit) as error:  # a plugin may raise anything; the user sees what and where
        raise InputError(f"{path}: cannot be imported: {brief(error)}") from error
    added = sorted({*_methods, *_tasks, *_metrics} - before)
    if not added:
        raise InputError(f"{path}: registers no method, task or metric; decorate the class of a method with @register('name')")
    _plugins[path] = added
    return added


def load_module(name: str) -> list[str]:
    """Import an installed module, or a package with all its modules; the names of the methods defined in it.

    Raises:
        InputError: it raises at import, or it registers no method.
    """
    _discover()
    try:
        module = importlib.import_module(name)
        for found in (name, *_children(module)):
            _take(importlib.import_module(found))
    except (Exception, SystemExit) as error:
        raise InputError(f"{name}: cannot be imported: {brief(error)}") from error
    inside = [entry.name for entry in _methods.values() if entry.cls.__module__ == name or entry.cls.__module__.startswith(f"{name}.")]
    if not inside:
        raise InputError(f"{name}: registers no method; decorate the class with @register('name')")
    return sorted(inside)


def _discover() -> None:
    global _discovered
    if _discovered:
        return
    _discovered = True
    for module in _children(importlib.import_module(METRICS)):
        _take(importlib.import_module(module))
    for entry_point in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        for name in _modules(entry_point.value, entry_point.name):
            try:
                _take(importlib.import_module(name))
            except (Exception, SystemExit) as error:  # one broken plugin must not take the others with it
                _broken[name] = brief(error)


def _modules(value: str, label: str) -> Iterator[str]:
    try:
        module = importlib.import_module(value)
    except (Exception, SystemExit) as error:
        _broken[f"{label} = {value}"] = brief(error)
        return
    yield value
    yield from _children(module)


def _children(package: ModuleType) -> Iterator[str]:
    for found in pkgutil.iter_modules(getattr(package, "__path__", [])):
        yield f"{package.__name__}.{found.name}"


def _take(module: ModuleType) -> None:
    for value in vars(module).values():
        if isinstance(value, Task):
            _add(_tasks, value, "task", module)
        elif isinstance(value, Metric):
            if value.name in headline.QUANTITIES:
                raise ValueError(
                    f"metric {value.name!r} of {module.__name__} is named like a quantity of the headline; choose another name"
                )
            _add(_metrics, value, "metric", module)


def _add(known: dict[str, T], value: T, kind: str, module: ModuleType) -> None:
    if known.get(value.name, value) != value:
        raise ValueError(f"{kind} {value.name!r} of {module.__name__} is already defined elsewhere; choose another name")
    known[value.name] = value
