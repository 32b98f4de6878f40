"""Controls: declared by the method, put on record by the harness, and marked on the board."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from records import original, record, spec

from benchmark import registry
from benchmark.cell import Cell, failed
from benchmark.leaderboard import board
from benchmark.leaderboard.document import overall_table, sections
from benchmark.leaderboard.export import to_csv
from benchmark.leaderboard.markdown import markdown
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


def landed(**forgetting: float) -> list[Record]:
    """Methods by their score; a control is one whose name begins so."""
    made = [(name.replace("_", "-"), record(spec(name.replace("_", "-")), ((0.04, share),))) for name, share in forgetting.items()]
    return [original(), *(each.model_copy(update={"control": name.startswith("control")}) for name, each in made)]


def told(records: list[Record]) -> dict[str, str]:
    return dict(sections(board(records))[0].facts)


def test_the_board_says_where_the_controls_landed_and_marks_their_rows() -> None:
    records = landed(good=0.8, fair=0.4, weak=0.12, control_noise=0.1, control_pruning=0.06)
    facts = told(records)
    assert facts["Controls"] == "control-noise rank 3 (3 to 5), control-pruning rank 4 (4 to 5)."
    assert facts["No better than a control"] == "weak: not told to be better than every one of them."
    assert "WARNING" not in facts
    names = [cells[1] for cells in overall_table(board(records)).rows]
    assert names == ["original", "good", "fair", "weak", "control-noise (control)", "control-pruning (control)"]
    assert "| control-noise (control)   |" in markdown("lab", sections(board(records)))
    lines = csv.DictReader(io.StringIO(to_csv(board(records))))
    assert {line["label"] for line in lines if line["control"] == "True"} == {"control-noise", "control-pruning"}


def test_a_control_above_the_median_method_is_a_warning() -> None:
    records = landed(good=0.8, fair=0.2, weak=0.1, control=0.5)
    assert told(records)["WARNING"] == (
        "control rank 2: told to be better than the median method, fair rank 3, without a look at the forget set."
        " Do not read these scores as forgetting of what was asked."
    )
    assert told(records)["No better than a control"].startswith("fair, weak: ")
    assert "WARNING" not in told(landed(good=0.8, fair=0.48, weak=0.1, control=0.5)), "within the noise floor of the median"


def test_a_board_without_controls_says_so_and_one_without_ranks_does_not() -> None:
    assert told(landed(good=0.8))["Controls"].startswith("none was run")
    assert "Controls" not in told([original("arxiv-domain", "none", "domain")])
