"""Where cells are run: in this process, in several, on a Ray cluster, under Slurm. What is told of them is the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from benchmark.cell import Cell


@dataclass(frozen=True)
class Taught:
    """A model has come to a step of its training: one that cells need taught before any of them begins, or one of a lab."""

    name: str
    step: int
    steps: int
    loss: float
    """Of this step's batch, nats a token."""


@dataclass(frozen=True)
class Started:
    """A cell has begun."""

    cell: Cell


@dataclass(frozen=True)
class Stepped:
    """A cell's method has yielded; told only where the cell runs on this machine."""

    cell: Cell
    step: int


@dataclass(frozen=True)
class Finished:
    """A cell's record is written; `death` says how its worker died where none could be."""

    cell: Cell
    death: str | None = None


Event = Taught | Started | Stepped | Finished
Report = Callable[[Event], None]


class Executor(Protocol):
    """Runs cells, each to a record on disk."""

    def run(self, cells: Sequence[Cell], report: Report) -> None:
        """Run cells of one results folder, in any order, and write a record of each but those whose worker died.

        Raises:
            InputError: a cell's model or data cannot be used, its record cannot be written, or there is nothing to run
                cells on. Records written stay.
        """
