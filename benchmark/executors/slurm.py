"""Running cells as Slurm jobs through submitit: a job runs the cells of a task one after the other, and writes their records itself."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from benchmark import store
from benchmark.cell import Cell
from benchmark.errors import InputError, brief
from benchmark.executors import Finished, Report, Started
from benchmark.executors.elsewhere import absolute, run_elsewhere

LOGS = "slurm"
"""Sub-folder of the results folder in which submitit keeps the jobs' scripts and logs; it stays where a job has died."""

LONGEST = 24 * 60
"""Minutes that a job may take unless `SBATCH_TIMELIMIT` says otherwise: Slurm heeds its own variables over a job's script."""

POLL = 1.0
"""Seconds between two looks at the results folder."""


@dataclass(frozen=True)
class Slurm:
    """The Slurm cluster of this machine; the results folder and every input must be on a file system that its nodes share."""

    jobs: int | None
    """Slurm jobs; None for one a task."""
    cpus: int
    """CPUs, and threads, of a job."""
    gpus: int
    """GPUs of a job."""
    cluster: str = "slurm"
    """As submitit names it; `local` and `debug` are its stand-ins."""

    def run(self, cells: Sequence[Cell], report: Report) -> None:
        """Follow the jobs by the records that they write; where one dies, the cell that it was at is tried once more."""
        executor = self._executor(cells[0])
        before = {cell.spec.key(): _written(cell) for cell in cells}
        died: set[str] = set()
        running: list[tuple[Any, list[Cell]]] = []
        try:
            batches = _batches(cells, self.jobs)
            running += zip(_submit(executor, batches, self.cpus), batches, strict=True)
            for _, left in running:
                report(Started(left[0]))
            while running:
                time.sleep(POLL)
                for job, left in list(running):
                    over = job.done()  # asked before looking, so that what it wrote before its end is seen
                    well = over and _went_well(job)
                    while left and (well or _written(left[0]) != before[left[0].spec.key()]):
                        _finish(left, report)
                    if over:
                        running.remove((job, left))
                    if over and left:
                        _blame(job, left, died, report)
                    if over and left:
                        running += zip(_submit(executor, [left], self.cpus), [left], strict=True)
        finally:
            for job, _ in running:
                job.cancel(check=False)
        if not died:
            shutil.rmtree(executor.folder, ignore_errors=True)

    def _executor(self, cell: Cell) -> Any:
        submitit = import_submitit()
        try:
            executor = submitit.AutoExecutor(cell.out.resolve() / LOGS, cluster=self.cluster)
        except RuntimeError as error:
            raise InputError(f"--executor slurm: {brief(error)}") from None
        executor.update_parameters(name="unlearning-bench", timeout_min=LONGEST, cpus_per_task=self.cpus)
        if self.gpus:
            executor.update_parameters(gpus_per_node=self.gpus)
        return executor


def import_submitit() -> Any:
    """Submitit itself.

    Raises:
        InputError: it is not installed.
    """
    try:
        import submitit
    except ImportError:
        raise InputError("--executor slurm: submitit is not installed; pip install 'unlearning-bench[slurm]'") from None
    return submitit


def _batches(cells: Sequence[Cell], jobs: int | None) -> list[list[Cell]]:
    """A batch a task and target seed, or as many as asked for, each of neighbouring ones."""
    judged = attrgetter("judged")
    ordered = sorted(cells, key=judged)
    if jobs is None:
        return [list(group) for _, group in groupby(ordered, key=judged)]
    size = -(-len(ordered) // jobs)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _submit(executor: Any, batches: Sequence[Sequence[Cell]], threads: int) -> list[Any]:
    try:
        return list(executor.map_array(_work, [[absolute(cell) for cell in batch] for batch in batches], [threads] * len(batches)))
    except Exception as error:  # submitit's own errors have no common base, and Slurm says no in many ways
        raise InputError(f"--executor slurm: the jobs were not accepted: {brief(error)}") from None


def _work(cells: Sequence[Cell], threads: int) -> str | None:
    """A job's life: run cells and write their records. What the user has to mend ends it, and is given back."""
    import torch

    torch.set_num_threads(threads)
    try:
        for cell in cells:
            record = run_elsewhere(cell)
            if isinstance(record, InputError):
                raise record
            store.write(cell.out, record)
    except InputError as error:
        return str(error)
    return None


def _went_well(job: Any) -> bool:
    """Whether a job that is over ran all its cells; their records may take a while to be seen from here.

    Raises:
        InputError: it met something for the user to mend.
    """
    if job.exception() is not None:
        return False
    if complaint := job.result():
        raise InputError(complaint)
    return True


def _blame(job: Any, left: list[Cell], died: set[str], report: Report) -> None:
    """Note the cell at which a job has died, the first one left; the second time it is given up."""
    key = left[0].spec.key()
    if key in died:
        _finish(left, report, f"its Slurm job died twice, the last time as job {job.job_id} ({job.state}); see {job.paths.stderr}")
    died.add(key)


def _finish(left: list[Cell], report: Report, death: str | None = None) -> None:
    report(Finished(left.pop(0), death))
    if left:
        report(Started(left[0]))


def _written(cell: Cell) -> int | None:
    """When the cell's record was last written, in nanoseconds; None where there is none."""
    file = store.path(cell.out, cell.spec)
    return file.stat().st_mtime_ns if file.exists() else None
