"""What putting a module in costs is on the record, and on the board apart from what is removed."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from records import original, record, spec

from benchmark.cell import Cell, failed
from benchmark.leaderboard import board, rows
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.export import to_csv
from benchmark.leaderboard.markdown import markdown
from benchmark.leaderboard.page import html
from benchmark.loading import Loading
from benchmark.record import Record

TITLE = "What putting a module in costs, before anything is removed"
PATH = ((0.08, 0.3), (0.15, 0.6))
"""The first step costs 8 % and forgets 0.3 of the gap of one nat."""


def inserted(seed: int = 0, path: tuple[tuple[float, float], ...] = PATH) -> Record:
    return record(spec("sae", seed=seed), path).model_copy(update={"inserts": True})


def test_the_first_step_is_what_the_insertion_costs() -> None:
    cost = rows([inserted()])[0].insertion
    assert cost is not None
    assert cost.damage == pytest.approx(0.08)
    assert cost.forget_rise == pytest.approx(0.3)
    assert cost.retain_drop == pytest.approx(0.08)  # these records lose as much accuracy as perplexity


def test_seeds_are_averaged() -> None:
    cost = rows([inserted(), inserted(1, ((0.04, 0.1),))])[0].insertion
    assert cost is not None
    assert (cost.damage, cost.forget_rise) == (pytest.approx(0.06), pytest.approx(0.2))


def test_other_methods_and_runs_that_broke_have_none() -> None:
    assert rows([record(spec())])[0].insertion is None
    broken = record(spec("sae"), status="failed", reason="no memory").model_copy(update={"inserts": True})
    assert rows([broken])[0].insertion is None
    assert rows([inserted(), broken.model_copy(update={"spec": spec("sae", seed=1)})])[0].insertion is None


def test_the_board_shows_it_in_a_table_of_its_own() -> None:
    built = board([original(), record(spec()), inserted()])
    text = markdown(built.model, sections(built))
    table = text.split(f"## {TITLE}\n")[1].split("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    assert lines[0] == ["method", "task", "utility damage", "rise of forget NLL", "top-1 drop on retain"]
    assert lines[2:] == [["sae", "arxiv", "8.0 %", "0.300", "8.0 %"]]
    assert f"<h2>{TITLE}</h2>" in html(built.model, sections(built), {})
    told = {line["method"]: line["insertion_damage_validation"] for line in csv.DictReader(io.StringIO(to_csv(built)))}
    assert told["ascent"] == ""
    assert float(told["sae"]) == pytest.approx(0.08)


def test_a_board_without_such_methods_does_not_mention_it() -> None:
    built = board([original(), record(spec())])
    assert TITLE not in markdown(built.model, sections(built))


def test_older_records_are_read_as_putting_nothing_in() -> None:
    written = inserted().model_dump(mode="json", exclude={"inserts"})
    assert not Record.model_validate(written).inserts


@pytest.mark.parametrize(("method", "inserts"), [("sae", True), ("codebook-random", True), ("gradient-ascent", False), ("original", False)])
def test_the_harness_takes_it_from_the_method(method: str, inserts: bool) -> None:
    cell = Cell(spec(method, "books"), "lab", None, (), Loading(), Path())
    assert failed(cell, "no memory").inserts == inserts
