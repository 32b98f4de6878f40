"""Running cells in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmark import store
from benchmark.cell import Cell, run_cell
from benchmark.executors import Finished, Report, Started, Stepped


@dataclass(frozen=True)
class Here:
    """This process."""

    def run(self, cells: Sequence[Cell], report: Report) -> None:
        """Run the cells in their order."""
        for cell in cells:
            report(Started(cell))
            run_and_write(cell, partial(_step, report, cell))
            report(Finished(cell))


def run_and_write(cell: Cell, stepped: Callable[[int], None] = lambda step: None) -> None:
    """Run a cell in this process and write its record; `stepped` is given each step's number.

    Raises:
        InputError: the cell's model or data cannot be used, or the record cannot be written.
    """
    store.write(cell.out, run_cell(cell, stepped))


def _step(report: Report, cell: Cell, step: int) -> None:
    report(Stepped(cell, step))
