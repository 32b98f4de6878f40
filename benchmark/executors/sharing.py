"""Cells side by side on one machine: each plans with its part of the memory, not with what the others will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmark.cell import Cell
from benchmark.memory.at_hand import free_for


def sharing(cells: Sequence[Cell], processes: int) -> list[Cell]:
    """The cells of a run, each bound to its part of what is free now where the model goes; a limit that was asked for stays.

    To be called before any of so many processes holds a model. A process by itself needs no bound.
    """
    if processes == 1:
        return list(cells)
    share = free_for(cells[0].loading) // processes
    return [cell if cell.memory is not None else replace(cell, memory=share) for cell in cells]
