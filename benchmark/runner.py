"""Running a plan: what is on record already is left, the rest is run, every outcome is written at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmark import registry, store
from benchmark.alike import check_alike
from benchmark.cell import Cell, failed
from benchmark.executors import Event, Executor, Finished, Report
from benchmark.panel import panel
from benchmark.supplement import lacking
from benchmark.teach import teach

BIG = 200_000_000
"""Bytes of weights from which a model is given all cores rather than a share."""


def missing(cells: Sequence[Cell], out: Path, retry_failed: bool = False, fresh: bool = False) -> list[Cell]:
    """The cells that have no record in the results folder and, where asked for, those on record as failed, or all of them.

    Where a record lacks a metric that is asked for, or has an older version of it, the cell has the record with it, to be added to.

    Raises:
        InputError: the folder holds records that these cells cannot stand beside, or that cannot be read.
    """
    records = {record.spec.key(): record for record in store.read_all(out)}
    specs = [record.spec for record in records.values()] + [cell.spec for cell in cells]
    check_alike(specs, f"{out} holds one kind already, name another folder with --out")

    def lacks_metrics(cell: Cell) -> bool:
        record = records.get(cell.spec.key())
        return record is not None and record.status == "ok" and bool(lacking(record, panel.versions(cell.panel)))

    def is_missing(cell: Cell) -> bool:
        record = records.get(cell.spec.key())
        return record is None or fresh or (retry_failed and record.status == "failed") or lacks_metrics(cell)

    def widened(cell: Cell) -> Cell:
        had = records[cell.spec.key()].panel if cell.spec.key() in records else {}
        known = records[cell.spec.key()] if lacks_metrics(cell) and not fresh else None
        return replace(cell, panel=tuple(sorted({*cell.panel, *(had.keys() & registry.metrics().keys())})), known=known)

    return [widened(cell) for cell in cells if is_missing(cell)]


def run(cells: Sequence[Cell], out: Path, executor: Executor, report: Report) -> None:
    """Teach what models the cells need taught, run the cells and write a record of each; the folder is locked meanwhile.

    Raises:
        InputError: another run is writing there, the folder cannot be written, or the model or data cannot be used.
    """

    def told(event: Event) -> None:
        if isinstance(event, Finished) and event.death is not None:
            store.write(out, failed(event.cell, event.death))
        report(event)

    with store.lock(out):
        executor.run(_taught(cells, told), told)


def _taught(cells: Sequence[Cell], report: Report) -> list[Cell]:
    """The same cells, with the models there that had to be taught first, unless that is left to the machines that run them."""
    here = {cell.model: cell.teaching for cell in cells if cell.teaching is not None and not cell.teaching.elsewhere}
    for teaching in here.values():
        teach(teaching, report)
    return [replace(cell, teaching=None) if cell.model in here else cell for cell in cells]


def fitting_jobs(folder: Path, device: str, cores: int) -> int:
    """How many processes suit a model: one a core while it is small and on the CPU, otherwise one."""
    weights = sum(file.stat().st_size for pattern in ("*.safetensors", "*.bin") for file in folder.glob(pattern))
    return cores if device == "cpu" and weights < BIG else 1
