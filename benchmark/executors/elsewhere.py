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
from benchmark.text import manifest
from benchmark.text.folder import HUB_TEXT


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


def laid_out(cell: Cell) -> dict[str, bytes]:
    """The hub text that was laid out in the cell's results folder, with its manifest: contents by path inside that folder."""
    if cell.data is None or cell.data.parent != cell.out / HUB_TEXT:
        return {}
    files = [*cell.data.iterdir(), manifest.path(cell.out, cell.data.name)]
    return {file.relative_to(cell.out).as_posix(): file.read_bytes() for file in files if file.is_file()}


def moved(cell: Cell, out: Path) -> Cell:
    """The cell with another results folder, in which what `laid_out` gave has been written."""
    inside = cell.data is not None and cell.data.parent == cell.out / HUB_TEXT
    return dataclasses.replace(cell, out=out, data=out / HUB_TEXT / cell.data.name if cell.data and inside else cell.data)


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
