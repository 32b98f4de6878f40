"""A cell on a machine that has nothing of the results folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cells import deterministic, planned, run

from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.executors.elsewhere import absolute, laid_out, moved, run_elsewhere
from benchmark.executors.ray import Worker
from benchmark.record import Record
from benchmark.text.folder import HUB_TEXT


@pytest.fixture
def cell(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path, no_plugin_stays: None) -> Cell:
    """A cell whose text lies in its results folder, as hub text does."""
    cell = planned(tiny_lab, tiny_corpus, tmp_path / "out", ["noisy"])[-1]
    data = cell.out / HUB_TEXT / "tiny"
    shutil.copytree(tiny_corpus, data)
    return replace(cell, data=data)


def test_paths_that_leave_are_absolute_and_names_stay(cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lab", "pythia-410m"):
        assert absolute(replace(cell, model=name)).model == name
    (tmp_path / "lab").mkdir()
    (tmp_path / "mine").mkdir()
    assert absolute(replace(cell, model="lab")).model == "lab"  # the embedded one, whatever lies here
    gone = absolute(replace(cell, model="mine", data=Path("out") / HUB_TEXT, plugins=(Path("p.py"),), out=Path("out")))
    assert (gone.model, gone.data, gone.plugins, gone.out) == (
        str(tmp_path / "mine"),
        tmp_path / "out" / HUB_TEXT,
        (tmp_path / "p.py",),
        tmp_path / "out",
    )


def test_text_of_the_results_folder_travels_and_the_users_own_does_not(cell: Cell, tiny_corpus: Path, tmp_path: Path) -> None:
    own = replace(cell, data=tiny_corpus)
    assert laid_out(own) == laid_out(replace(cell, data=None)) == {}
    assert moved(own, tmp_path).data == tiny_corpus
    assert laid_out(cell) == {f"{HUB_TEXT}/tiny/{file.name}": file.read_bytes() for file in tiny_corpus.iterdir()}


def test_a_worker_without_the_results_folder_gives_the_same_record(cell: Cell) -> None:
    here = run([cell])[cell.spec.task, cell.spec.method, 0]
    worker = Worker(1, laid_out(cell))
    shutil.rmtree(cell.out)
    there = worker.run(absolute(cell))
    assert isinstance(there, Record)
    assert there.status == "ok"
    assert deterministic(there) == deterministic(here)
    assert not cell.out.exists()


def test_another_version_of_the_method_is_refused_and_the_machine_named(cell: Cell) -> None:
    other = replace(cell, spec=cell.spec.model_copy(update={"source": "0" * 64}))
    refused = run_elsewhere(other)
    assert isinstance(refused, InputError)
    assert str(refused).startswith("on ")
    assert str(refused).endswith("method 'noisy' is not the one that was asked for; install the same version on every machine")
