"""Running cells on a Ray cluster: an actor holds a share of a machine and runs one cell at a time; this process writes the records."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmark import store
from benchmark.cell import Cell
from benchmark.errors import InputError, brief
from benchmark.executors import Finished, Report, Started
from benchmark.executors.elsewhere import absolute, laid_out, moved, run_elsewhere
from benchmark.executors.sharing import sharing
from benchmark.record import Record

ADDRESS = "RAY_ADDRESS"
"""Environment variable in which Ray's users name their cluster."""

PATIENCE = 5.0
"""Seconds to wait for a cluster to answer before saying that it is out of reach."""

OBJECTS = 100 * 2**20
"""Bytes that a Ray of our own keeps for what travels; records are small."""


class Worker:
    """What an actor is made of. Its process keeps the model's baseline for the last tasks, as any process that runs cells does."""

    def __init__(self, threads: int, text: Mapping[str, bytes], abreast: int = 1) -> None:
        """With as many threads as it may take, what `laid_out` gave, and the number of such actors that its devices may be shared by."""
        import torch

        torch.set_num_threads(threads)
        self.abreast = abreast
        self.memory: int | None = None
        self.scratch = tempfile.TemporaryDirectory(prefix="bench-")
        for name, content in text.items():
            store.write_file(Path(self.scratch.name, name), content)

    def version(self) -> str:
        """Of this package on the actor's machine."""
        return version("unlearning-bench")

    def run(self, cell: Cell) -> Record | InputError:
        """A cell's record, or what the user has to mend."""
        if cell.memory is None:
            (cell,) = sharing([replace(cell, memory=self.memory)], self.abreast)
            self.memory = cell.memory  # as it was before this process held anything
        shared = cell.out.is_dir()  # then prepared tensors are shared by all machines, otherwise by the cells of this actor
        return run_elsewhere(cell if shared else moved(cell, Path(self.scratch.name)))


@dataclass(frozen=True)
class Ray:
    """The cluster that `RAY_ADDRESS` names, or a Ray of this machine alone where it names none."""

    jobs: int | None
    """Actors; None for as many as the cluster has room for."""
    cpus: float
    """CPUs of a cell: its share of a machine, and, rounded down, its threads."""
    gpus: float
    """GPUs of a cell; a half lets two cells share one."""
    say: Callable[[str], None]
    """Tells the user something in passing."""

    def run(self, cells: Sequence[Cell], report: Report) -> None:
        """Keep cells of a task on one actor, as far as no actor is idle for it; a cell whose actor dies is tried once more."""
        ray = import_ray()
        connected = ray.is_initialized()
        try:
            if not connected:
                _connect(ray, self.say)
            self._run(ray, cells, report)
        finally:
            if not connected:
                ray.shutdown()

    def _run(self, ray: Any, cells: Sequence[Cell], report: Report) -> None:
        actor_class = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus)(Worker)
        text = ray.put(laid_out(cells[0]))
        count = min(self.jobs or _room(ray, self.cpus, self.gpus), len(cells))
        abreast = min(count, _abreast(ray, self.cpus, self.gpus))
        actors: list[Any] = []
        at_work: dict[Any, tuple[Any, Cell | None]] = {}
        """What is awaited of an actor, and the cell it has; None while it starts, or waits for room on the cluster."""

        def hire() -> None:
            actors.append(actor_class.remote(max(1, int(self.cpus)), text, abreast))
            at_work[actors[-1].version.remote()] = actors[-1], None

        waiting, died, left = list(cells), set[str](), len(cells)
        try:
            for _ in range(count):
                hire()
            while left:
                (ready,), _ = ray.wait(list(at_work), num_returns=1)
                actor, cell = at_work.pop(ready)
                answer = _answer(ray, ready)
                if cell is None:
                    _check_started(answer)
                elif isinstance(answer, Record):
                    store.write(cell.out, answer)
                    left -= 1
                    report(Finished(cell))
                elif cell.spec.key() in died:
                    left -= 1
                    report(Finished(cell, f"its Ray worker died twice ({brief(answer)}); out of memory?"))
                else:
                    died.add(cell.spec.key())
                    waiting.insert(0, cell)
                if isinstance(answer, ray.exceptions.RayError) or not waiting:
                    ray.kill(actor)
                    if waiting:
                        hire()
                else:
                    cell = _next(waiting, cell, [other for _, other in at_work.values() if other])
                    at_work[actor.run.remote(absolute(cell))] = actor, cell
                    report(Started(cell))
        finally:
            for actor in actors:
                ray.kill(actor)


def import_ray() -> Any:
    """Ray itself.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise InputError("--executor ray: Ray is not installed; pip install 'unlearning-bench[ray]'") from None
    return ray


def _connect(ray: Any, say: Callable[[str], None]) -> None:
    address = os.environ.get(ADDRESS, "local")
    try:
        if address == "local":
            say(f"{ADDRESS} is not set: a Ray of this machine alone is started")
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what we start tells nobody
            ray.init(address, include_dashboard=False, object_store_memory=OBJECTS, log_to_driver=False, logging_level="error")
        else:
            _knock(address)
            ray.init(address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{ADDRESS}={address}: no Ray cluster can be used there: {brief(error)}") from None


def _knock(address: str) -> None:
    """See that somebody answers at `host:port`, with or without `ray://`: Ray itself would try for minutes, then end the process."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()


def _room(ray: Any, cpus: float, gpus: float) -> int:
    """How many cells fit on the cluster at once."""
    room = sum(_fitting(machine, cpus, gpus) for machine in _machines(ray))
    if room == 0:
        raise InputError(
            f"no machine of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs for a cell: ask for less with --cpus-per-cell and "
            "--gpus-per-cell, or wait with --jobs N for a cluster that grows"
        )
    return room


def _abreast(ray: Any, cpus: float, gpus: float) -> int:
    """How many cells may come to share the memory that one plans with: that of its GPUs, else that of its machine."""
    if gpus:
        return max(1, int(1 / gpus))
    return max([1, *(_fitting(machine, cpus, gpus) for machine in _machines(ray))])


def _machines(ray: Any) -> list[Mapping[str, float]]:
    return [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]


def _fitting(machine: Mapping[str, float], cpus: float, gpus: float) -> int:
    asked = {"CPU": cpus, "GPU": gpus}
    return int(min(machine.get(kind, 0.0) / each for kind, each in asked.items() if each))


def _answer(ray: Any, reference: Any) -> Any:
    """What an actor gave back, or the error by which it was lost.

    Raises:
        InputError: an actor's machine lacks something, or has something else.
    """
    try:
        answer = ray.get(reference)
    except ray.exceptions.RayError as error:
        return error
    if isinstance(answer, InputError):
        raise answer
    return answer


def _check_started(answer: object) -> None:
    ours = version("unlearning-bench")
    if answer != ours:
        found = f"it has version {answer}" if isinstance(answer, str) else brief(answer) if isinstance(answer, Exception) else repr(answer)
        raise InputError(f"a Ray worker cannot be used ({found}); install unlearning-bench {ours} on every machine of the cluster")


def _next(waiting: list[Cell], last: Cell | None, others: Collection[Cell]) -> Cell:
    """Take the next cell for an actor out of the list: of its last task and target seed, else of such as no other actor is at, else the
    first."""
    at = {cell.judged for cell in others}
    cell = min(waiting, key=lambda cell: (last is None or cell.judged != last.judged, cell.judged in at))
    waiting.remove(cell)
    return cell
