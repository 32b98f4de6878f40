"""Running cells in processes of this machine: one cell at a time each, a process that dies is a failed cell."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.executors import Executor, Finished, Report, Started, Stepped
from benchmark.executors.here import Here, run_and_write
from benchmark.executors.sharing import sharing

GRACE = 5.0
"""Seconds that an idle process is given to end by itself."""


def local(jobs: int) -> Executor:
    """This process for one job, otherwise that many processes of this machine."""
    return Here() if jobs == 1 else Processes(jobs)


@dataclass(frozen=True)
class Processes:
    """Some processes of this machine, which share its cores and its memory evenly."""

    count: int

    def run(self, cells: Sequence[Cell], report: Report) -> None:
        """Hand the cells out in their order; a single one is run in this process."""
        if len(cells) > 1:
            jobs = min(self.count, len(cells))
            _run(sharing(cells, jobs), jobs, report)
        else:
            Here().run(cells, report)


def _run(cells: Sequence[Cell], jobs: int, report: Report) -> None:
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
        for connection, process in idle:
            connection.close()  # it ends by itself, and cleans up behind it
            process.join(GRACE)
        for process in [process for process, _ in workers.values()] + [process for _, process in idle]:
            process.terminate()


def _start(threads: int) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, threads), daemon=True)
    process.start()
    theirs.close()
    return ours, process


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
                run_and_write(cell, tell)
                tell(None)
            except InputError as error:
                tell(error)
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return
