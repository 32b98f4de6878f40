"""Running one cell: a method on a task for a model and a seed, to a record."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmark import registry
from benchmark.environment import environment
from benchmark.errors import InputError
from benchmark.implant import Teaching
from benchmark.loading import Loading
from benchmark.measure import Diverged
from benchmark.memory.at_hand import bounded
from benchmark.memory.checkpointing import checkpoint_blocks
from benchmark.memory.plan import MemoryPlan
from benchmark.memory.remedies import remedies
from benchmark.method import Request, UnlearningMethod, Unsupported
from benchmark.model import LanguageModel, load_model
from benchmark.operating_points import ModelAt, fixed_points, model_at, operating_points
from benchmark.panel import panel
from benchmark.preparation import prepare
from benchmark.record import Cost, OperatingPoint, Record, Spec, Status, Step
from benchmark.removal import Removal, request_task
from benchmark.snapshot import digests, save
from benchmark.supplement import lacking, supplemented
from benchmark.task import Task
from benchmark.teach import teach
from benchmark.trajectory import follow, steps_of
from benchmark.yardstick import Yardstick, yardstick_for


@dataclass(frozen=True)
class Cell:
    """A cell to be run: what identifies it, and where its inputs are."""

    spec: Spec
    model: str
    """As named on the command line; where models are taught first, the folder that they are taught to."""
    data: Path | None
    """Folder that replaces the bundled text."""
    plugins: tuple[Path, ...]
    """Plugin files to import first."""
    loading: Loading
    """How the model is loaded."""
    out: Path
    """Results folder: prepared tensors are shared through it."""
    panel: tuple[str, ...] = ()
    """Metrics that the headline operating point is measured on."""
    memory: int | None = None
    """Bytes that it may use; None: what is free."""
    gradient_checkpointing: bool = False
    removal: Removal | None = None
    """The user's own request, which is a task of its own."""
    teaching: Teaching | None = None
    """What must be taught before the cell can be run; None where nothing must, or it has been."""
    known: Record | None = None
    """Its record, where that lacks nothing but metrics."""

    @property
    def judged(self) -> tuple[str, int]:
        """What it shares the models and the text that it is judged by with: the cells of its task and target seed."""
        return self.spec.task, self.spec.target_seed

    @property
    def task(self) -> Task:
        """What is asked of the method."""
        return registry.task(self.spec.task) if self.removal is None else request_task()


@dataclass(frozen=True)
class _Outcome:
    status: Status
    reason: str | None = None
    trajectory: tuple[Step, ...] = ()
    points: tuple[OperatingPoint, ...] = ()
    prepare_cost: Cost = field(default_factory=Cost)


def run_cell(
    cell: Cell, progress: Callable[[int], None] = lambda step: None, keep: Callable[[LanguageModel], object] = lambda lm: None
) -> Record:
    """Run a cell; `progress` is given each step's number. Whatever goes wrong in a method is recorded.

    `keep` is called at most once: where the cell is ok and the operating point of the protocol's last budget is a step of the
    method. It is given the model that was measured there, which nothing uses afterwards: in evaluation mode, with adapters where the
    method trained some, with the modules that it put in where it declares them, and with checkpointed blocks where these were asked
    for. Budgets never fall, so the last one's point is the one that was made last.

    Raises:
        InputError: the model or the data cannot be used, by this or any other cell.
    """
    for plugin in cell.plugins:
        registry.load_plugin(plugin)
    model = cell.model
    if cell.teaching is not None:
        teach(cell.teaching, wait=True)  # another cell of the task may be at it
        model = str(cell.teaching.folder)  # of this machine's cache
    if cell.known is not None and (record := _supplemented(cell, cell.known, model, progress)) is not None:
        return record
    try:
        yardstick = _yardstick(cell, model, cell.panel)
    except InputError:
        raise
    except Exception as error:
        return failed(cell, f"target and reference could not be measured: {type(error).__name__}: {error}")
    plan = MemoryPlan(cell.memory)
    try:
        with bounded(cell.loading):
            outcome = _outcome(cell, yardstick, plan, progress, keep)
    except Unsupported as reason:
        outcome = _Outcome("declined", str(reason))
    except Diverged as error:
        outcome = _Outcome("diverged", str(error))
    except (Exception, SystemExit) as error:  # a cell that fails must not take the others with it
        outcome = _Outcome("failed", f"{type(error).__name__}: {error}")
    return _record(cell, outcome, yardstick, plan)


def _yardstick(cell: Cell, model: str, metrics: tuple[str, ...]) -> Yardstick:
    spec = cell.spec
    return yardstick_for(spec.task, model, spec.target_seed, cell.data, spec.protocol, cell.loading, metrics, cell.removal)


def _supplemented(cell: Cell, known: Record, model: str, progress: Callable[[int], None]) -> Record | None:
    """The record with the metrics that it lacks; None where the cell does not come out as it did, or goes wrong, and is to be run whole."""
    versions = panel.versions(cell.panel)

    def model_at(step: int) -> LanguageModel:
        ready = _ready(cell, yardstick, MemoryPlan(cell.memory))
        base = digests(ready.lm.model)
        with closing(steps_of(ready.method, ready.lm, ready.request)) as steps:
            for number, _ in enumerate(islice(steps, step), start=1):
                progress(number)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            save(ready.lm.model, base, snapshot := Path(folder) / "step.safetensors")
            return _model_at(cell, yardstick, ready)(snapshot)[0]

    try:
        yardstick = _yardstick(cell, model, lacking(known, versions))
        with bounded(cell.loading):
            return supplemented(known, versions, yardstick, model_at)
    except InputError:
        raise
    except (Exception, SystemExit):  # running it whole says what is wrong
        return None


def failed(cell: Cell, reason: str) -> Record:
    """The record of a cell in which nothing was measured."""
    return _record(cell, _Outcome("failed", reason), None, MemoryPlan())


def _record(cell: Cell, outcome: _Outcome, yardstick: Yardstick | None, plan: MemoryPlan) -> Record:
    task, method = cell.task, registry.methods().get(cell.spec.method)
    return Record(
        spec=cell.spec,
        status=outcome.status,
        reason=outcome.reason,
        removes=task.removes,
        domain=task.domain,
        baseline=yardstick.evaluation.baseline if yardstick else None,
        trajectory=outcome.trajectory,
        operating_points=outcome.points,
        prepare_cost=outcome.prepare_cost,
        planned_memory=plan.parts,
        micro_batch=plan.micro_batch,
        gradient_checkpointing=cell.gradient_checkpointing,
        inserts=method is not None and method.cls.inserts,
        control=method is not None and method.cls.control,
        retraining_flops=yardstick.retraining.flops if yardstick and yardstick.retraining else None,
        environment=environment(cell.loading, yardstick.attention if yardstick else None),
        model_origin=yardstick.model_origin if yardstick else None,
        text=yardstick.text if yardstick else None,
        panel=panel.versions(cell.panel) if yardstick else {},
        requested=yardstick.requested if yardstick else None,
    )


def _outcome(
    cell: Cell, yardstick: Yardstick, plan: MemoryPlan, progress: Callable[[int], None], keep: Callable[[LanguageModel], object]
) -> _Outcome:
    if cell.spec.method == "original":
        return _Outcome("ok", points=fixed_points(load_model(yardstick.target, cell.loading), yardstick, cell.spec.protocol, Cost()))
    if cell.spec.method == "retrained":
        if yardstick.reference is None:
            raise Unsupported(f"no retrained model: the reference is {yardstick.evaluation.baseline.reference_kind}")
        retrained = load_model(yardstick.reference, cell.loading)
        return _Outcome("ok", points=fixed_points(retrained, yardstick, cell.spec.protocol, yardstick.retraining or Cost()))
    ready = _ready(cell, yardstick, plan)
    prepare_cost, at = ready.prepare_cost, _model_at(cell, yardstick, ready)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run = follow(ready.method, ready.lm, ready.request, yardstick.evaluation, cell.spec.protocol, Path(folder), progress)
        del ready  # where its weights are all that counts, the model that the method was given is gone before another comes
        points = operating_points(run.chosen, at, yardstick, cell.spec.protocol, keep) if run.status == "ok" else ()
    return _Outcome(run.status, run.reason, tuple(run.steps), points, prepare_cost)


class _Ready(NamedTuple):
    """All that a method needs for its first step."""

    lm: LanguageModel
    method: UnlearningMethod
    request: Request
    prepare_cost: Cost


def _ready(cell: Cell, yardstick: Yardstick, plan: MemoryPlan) -> _Ready:
    """The target as it was trained, what is asked of the method, and the generators seeded.

    Raises:
        Unsupported: the method declines.
    """
    lm = replace(load_model(yardstick.target, cell.loading), plan=plan)
    method = registry.method(cell.spec.method).build(cell.spec.hyperparameters)
    forget, retain, general = yardstick.texts
    _seed(0)  # what is prepared is shared by the seeds
    prepared, prepare_cost = prepare(method, cell.spec, lm, general, cell.out)
    request = Request(forget, retain, general, cell.spec.seed, prepared)
    if reason := method.unsupported(lm, request):
        raise Unsupported(reason)
    plan.batch = int(cell.spec.hyperparameters.get("batch") or 0)
    plan.look_at(lm.model, lm.context, cell.gradient_checkpointing, remedies(cell.spec, lm, request, cell.gradient_checkpointing))
    if cell.gradient_checkpointing:
        checkpoint_blocks(lm.model)
    _seed(cell.spec.seed)
    return _Ready(lm, method, request, prepare_cost)


def _model_at(cell: Cell, yardstick: Yardstick, ready: _Ready) -> ModelAt:
    given = ready.lm if ready.method.inserts else None
    return partial(model_at, yardstick, cell.spec, ready.lm.plan, cell.gradient_checkpointing, given)


def _seed(seed: int) -> None:
    """Seed every global generator, for methods that use them: no cell depends on the ones before it."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
