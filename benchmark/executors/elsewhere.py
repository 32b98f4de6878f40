"""A cell that is run on another machine: made ready to leave, and looked at where it arrives."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

from benchmark import registry
from benchmark.cell import Cell, run_cell
from benchmark.errors import InputError
from benchmark.record import Record
from benchmark.source import LAB


def absolute(cell: Cell) -> Cell:
    """The cell with every path absolute; the name of a model that is no folder here stays as it is."""
    model = Path(cell.model).expanduser()
    return dataclasses.replace(
        cell,
        model=str(model.resolve()) if cell.model != LAB and model.is_dir() else cell.model,
        data=cell.data and cell.data.resolve(),
        plugins=tuple(plugin.resolve() for plugin in cell.plugins),
        out=cell.out.resolve(),
    )


def run_elsewhere(cell: Cell) -> Record | InputError:
    """Run a cell that was planned on another machine; an error of the user's to mend is given back, and says which machine it is about."""
    try:
        for plugin in cell.plugins:
            registry.load_plugin(plugin)
        _check_method(cell)
        return run_cell(cell)
    except InputError as error:
        return InputError(f"on {platform.node()}: {error}")


def _check_method(cell: Cell) -> None:
    """See that this machine has the method whose source identifies the record."""
    name = cell.spec.method
    if name not in registry.RESERVED and registry.method(name).source_hash() != cell.spec.source:
        raise InputError(f"method {name!r} is not the one that was asked for; install the same version on every machine")
