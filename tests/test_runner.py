"""Running many cells: in one process or several, interrupted or not, the same records come out."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cells import MISBEHAVING, by_cell, deterministic, run

from benchmark import runner, store
from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.executors import Event, Finished, Started, Stepped
from benchmark.executors.processes import local
from benchmark.leaderboard import render

Plan = Callable[..., list[Cell]]

pytestmark = pytest.mark.usefixtures("no_plugin_stays")


def quiet(event: Event) -> None:
    pass


def test_every_cell_is_run_reported_and_written(plan: Plan) -> None:
    cells = plan("out", ["nudging", "raising"])
    events: list[Event] = []
    runner.run(cells, cells[0].out, local(1), events.append)
    assert [event.cell for event in events if isinstance(event, Started)] == cells
    assert [event.cell for event in events if isinstance(event, Finished)] == cells
    assert [event.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 1, 2]
    assert [store.find(cell.out, cell.spec).status for cell in cells] == ["ok", "ok", "ok", "failed"]  # type: ignore[union-attr]


def test_only_what_is_missing_is_run(plan: Plan) -> None:
    cells = plan("out", ["nudging", "raising", "diverging"])
    out = cells[0].out
    assert runner.missing(cells, out, retry_failed=False) == cells
    run(cells[:3])
    assert runner.missing(cells, out, retry_failed=False) == cells[3:]
    run(cells[3:])
    assert runner.missing(cells, out, retry_failed=False) == []
    assert [cell.spec.method for cell in runner.missing(cells, out, retry_failed=True)] == ["raising"]
    changed = plan("out", ["nudging"], ["books"])
    assert runner.missing(changed, out, retry_failed=False) == changed


def test_an_interruption_keeps_what_was_done_and_frees_the_folder(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = plan("out", ["nudging", "interrupting", "noisy"])
    out = cells[0].out
    monkeypatch.setenv("INTERRUPT", "yes")
    with pytest.raises(KeyboardInterrupt):
        runner.run(cells, out, local(1), quiet)
    assert [cell.spec.method for cell in runner.missing(cells, out, retry_failed=False)] == ["interrupting", "noisy"]
    monkeypatch.delenv("INTERRUPT")
    records = run(runner.missing(cells, out, retry_failed=False))
    assert {record.status for record in records.values()} == {"ok"}
    assert len(records) == len(cells)


def test_a_second_run_into_the_folder_stops_with_one_line(plan: Plan) -> None:
    cells = plan("out", ["nudging"])
    with store.lock(cells[0].out), pytest.raises(InputError, match=rf"^another run \(pid {os.getpid()}\) is writing to .*$"):
        runner.run(cells, cells[0].out, local(1), quiet)
    assert by_cell(cells[0].out) == {}


def test_a_small_model_gets_a_process_for_each_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    assert [runner.fitting_jobs(tmp_path, device, 8) for device in ("cpu", "cuda")] == [8, 1]
    monkeypatch.setattr(runner, "BIG", 100)
    assert runner.fitting_jobs(tmp_path, "cpu", 8) == 1


@pytest.mark.slow
def test_several_processes_give_the_same_records_and_outlive_one_that_is_killed(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # a thread each, as here
    events: list[Event] = []
    cells = plan("several", ["dying", "gradient-difference", "noisy", "raising"])
    runner.run(cells, cells[0].out, local(2), events.append)
    several = by_cell(cells[0].out)
    alone = run([cell for cell in plan("alone", ["dying", "gradient-difference", "noisy", "raising"]) if cell.spec.method != "dying"])
    lost = several.pop(("arxiv", "dying", 0))
    assert (lost.status, lost.reason) == ("failed", "the worker process died (exit code -9); out of memory?")
    assert lost.baseline is None
    assert several.keys() == alone.keys()
    for key, record in several.items():
        assert deterministic(record) == deterministic(alone[key]), key
    assert sorted(event.cell.spec.method for event in events if isinstance(event, Finished)) == sorted(cell.spec.method for cell in cells)
    assert [event.cell.spec.method for event in events if isinstance(event, Finished) and event.death] == ["dying"]
    assert {event.cell.spec.method for event in events if isinstance(event, Stepped)} == {"gradient-difference", "noisy", "raising"}


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from cells import planned
from benchmark import runner
from benchmark.executors import Stepped
from benchmark.executors.processes import local

def tell(event):
    if isinstance(event, Stepped) and event.cell.spec.method == "waiting":
        print(event.step, flush=True)

if __name__ == "__main__":
    cells = planned(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), ["nudging", "waiting"], ["arxiv", "books"])
    runner.run(cells, cells[0].out, local(2), tell)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(
    plan: Plan, tiny_lab: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods, tasks = ["nudging", "waiting"], ["arxiv", "books"]
    cells = plan("killed", methods, tasks)
    out = cells[0].out
    script = tmp_path / "script.py"
    script.write_text(RUN)
    arguments = [sys.executable, script, MISBEHAVING.parent.parent, tiny_lab, tiny_corpus, out]
    waiting = os.environ | {"SECONDS_A_STEP": "1.5"}
    with subprocess.Popen([str(part) for part in arguments], stdout=subprocess.PIPE, text=True, env=waiting) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "1\n"  # in the middle of a cell
        family = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    assert len(family) >= 2
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    before = by_cell(out)  # whole records only, or this raises
    assert ("arxiv", "waiting", 0) not in before  # no method is blamed for the end of its parent
    assert 0 < len(before) < len(cells)

    written = {file: file.stat().st_mtime_ns for file in (out / "records").glob("*.json")}
    todo = runner.missing(cells, out, retry_failed=True)
    assert len(todo) == len(cells) - len(before)
    run(todo)
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert not list((out / "records").glob(".*"))
    whole = run(plan("whole", methods, tasks))
    resumed = by_cell(out)
    assert {key: deterministic(record) for key, record in resumed.items()} == {key: deterministic(record) for key, record in whole.items()}
    tables = []
    for folder in (out, tmp_path / "whole"):
        render.publish(folder)
        with (folder / "leaderboard.csv").open(newline="") as file:
            tables.append([{name: value for name, value in row.items() if not _measured_by_clock(name)} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]
    assert len(tables[0]) == len(cells)


def _measured_by_clock(column: str) -> bool:
    return "seconds" in column or "memory" in column


@pytest.mark.slow
def test_a_model_that_cannot_be_used_ends_the_run_from_any_process(plan: Plan, tmp_path: Path) -> None:
    cells = plan("out", ["nudging"])
    gone = [Cell(cell.spec, str(tmp_path / "gone" / "lab"), cell.data, cell.plugins, cell.loading, cell.out) for cell in cells]
    for jobs in (1, 2):
        with pytest.raises(InputError, match="no such model folder"):
            runner.run(gone, cells[0].out, local(jobs), quiet)
    assert by_cell(cells[0].out) == {}
    with store.lock(cells[0].out):  # free again
        pass
