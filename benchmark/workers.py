"""Running cells in this process, or in several: one cell at a time each, a worker that dies is a failed cell."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from benchmark import store
from benchmark.cell import Cell, run_cell
from benchmark.errors import InputError


@dataclass(frozen=True)
class Started:
    """A cell has begun."""

    cell: Cell


@dataclass(frozen=True)
class Stepped:
    """A cell's method has yielded."""

    cell: Cell
    step: int


@dataclass(frozen=True)
class Finished:
    """A cell's record is written; `death` says how its worker died where it could not write one."""

    cell: Cell
    death: str | None = None


Event = Started | Stepped | Finished


def run_here(cells: Sequence[Cell], report: Callable[[Event], None]) -> None:
    """Run cells one after the other in this process.

    Raises:
        InputError: a cell's model or data cannot be used, or its record cannot be written. Records written stay.
    """
    for cell in cells:
        report(Started(cell))
        _run_and_write(cell, partial(_step, report, cell))
        report(Finished(cell))


def run_in_processes(cells: Sequence[Cell], jobs: int, report: Callable[[Event], None]) -> None:
    """Run cells in `jobs` processes that share the cores evenly.

    Raises:
        InputError: a cell's model or data cannot be used, or its record cannot be written. Records written stay.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting = list(reversed(cells))
    workers: dict[Connection, tuple[SpawnProcess, Cell]] = {}
    idle: list[tuple[Connection, SpawnProcess]] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                idle = [(connection, process) for connection, process in idle if process.is_alive()]
                connection, process = idle.pop() if idle else _start(threads)
                cell = waiting.pop()
                connection.send(cell)
                workers[connection] = process, cell
                report(Started(cell))
            for ready in wait(list(workers)):
                assert isinstance(ready, Connection)
                process, cell = workers[ready]
                try:
                    message = ready.recv()
                except (EOFError, OSError):  # it ended between two messages, or in the middle of one
                    process.join()
                    del workers[ready]
                    report(Finished(cell, f"the worker process died (exit code {process.exitcode}); out of memory?"))
                    continue
                if isinstance(message, InputError):
                    raise message
                if isinstance(message, int):
                    report(Stepped(cell, message))
                else:
                    del workers[ready]
                    idle.append((ready, process))
                    report(Finished(cell))
    finally:
        for process in [process for process, _ in workers.values()] + [process for _, process in idle]:
            process.terminate()


def _start(threads: int) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, threads), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _step(report: Callable[[Event], None], cell: Cell, step: int) -> None:
    report(Stepped(cell, step))


def _run_and_write(cell: Cell, stepped: Callable[[int], None]) -> None:
    store.write(cell.out, run_cell(cell, stepped))


def _work(connection: Connection, threads: int) -> None:
    """A worker's life: a cell comes in, step numbers and at last None go out. It ends when its parent does, within a step."""
    import torch

    torch.set_num_threads(threads)

    def tell(message: int | InputError | None) -> None:
        try:
            connection.send(message)
        except ConnectionError:
            raise KeyboardInterrupt from None  # the parent is gone, for which no method is to blame

    try:
        while True:
            cell = connection.recv()
            try:
                _run_and_write(cell, tell)
                tell(None)
            except InputError as error:
                tell(error)
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return
