"""Making the model of an operating point again: a record holds what was measured, not the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmark import registry
from benchmark.cell import Cell, run_cell
from benchmark.errors import InputError
from benchmark.model import LanguageModel
from benchmark.record import Record

SELDOM = 1e9
"""Growth of the measuring schedule: the first step and the last are measured."""


def remake(cell: Cell, record: Record, step: int, progress: Callable[[int], None]) -> tuple[LanguageModel, Record]:
    """Run a cell again up to a step of its trajectory, with as many threads as then: the model, and its own record.

    Args:
        cell: of the record.
        record: of the cell, ok.
        step: an operating point's; at least 1.
        progress: is given each step's number.

    Raises:
        InputError: the method is another one by now, or did not come to this step again.
    """
    if registry.method(cell.spec.method).source_hash() != cell.spec.source:
        raise InputError(f"method {cell.spec.method!r} was edited since it was measured; run it again, and then save the model")
    protocol = record.spec.protocol
    budgets = (protocol.headline,) * len(protocol.budgets)
    again = protocol.model_copy(update={"max_steps": step, "growth": SELDOM, "budgets": budgets, "utility": ()})
    kept: list[LanguageModel] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(record.environment.threads)
    try:
        made = run_cell(replace(cell, spec=cell.spec.model_copy(update={"protocol": again})), progress, kept.append)
    finally:
        torch.set_num_threads(threads)
    if made.status != "ok" or not kept:
        raise InputError(f"{cell.spec.method} was run again to save its model, and {made.status}: {made.reason}; the records are kept")
    if made.operating_points[0].step != step:
        raise InputError(
            f"{cell.spec.method} was run again to save its model, and step {step} came out another one than on record; the records are kept"
        )
    return kept[0], made
