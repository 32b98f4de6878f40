"""Controls: declared by the method, put on record by the harness, and marked on the board."""

from __future__ import annotations

from pathlib import Path

import pytest
from records import record, spec

from benchmark import registry
from benchmark.cell import Cell, failed
from benchmark.loading import Loading
from benchmark.record import Record

CONTROLS = {"random-pruning", "magnitude-pruning", "retain-finetuning", "noise"}


def test_the_methods_that_never_look_at_the_forget_set_say_so() -> None:
    assert {entry.name for entry in registry.methods().values() if entry.cls.control} == CONTROLS


@pytest.mark.parametrize(("method", "control"), [("random-pruning", True), ("gradient-ascent", False), ("original", False)])
def test_the_harness_takes_it_from_the_method(method: str, control: bool) -> None:
    cell = Cell(spec(method, "books"), "lab", None, (), Loading(), Path())
    assert failed(cell, "no memory").control == control


def test_older_records_are_read_as_no_controls() -> None:
    written = record(spec("random-pruning")).model_dump(mode="json", exclude={"control"})
    assert not Record.model_validate(written).control
