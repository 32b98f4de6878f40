"""Cells as Slurm jobs, by submitit's stand-in for Slurm on one machine."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cells import by_cell, deterministic, run

from benchmark import runner
from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.executors import Event, Finished, Started
from benchmark.executors.slurm import LOGS, Slurm, _batches

submitit = pytest.importorskip("submitit", reason="the extra `slurm` is not installed")

Plan = Callable[..., list[Cell]]

pytestmark = pytest.mark.usefixtures("no_plugin_stays")


@pytest.mark.slow
def test_jobs_give_the_same_records_and_a_cell_whose_job_dies_another_try(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 1)
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    methods = ["dying", "dying-once", "gradient-difference", "raising"]
    cells = plan("jobs", methods)
    out = cells[0].out
    events: list[Event] = []
    runner.run(cells, out, Slurm(2, 1, 0, cluster="local"), events.append)
    assert runner.missing(cells, out) == []
    there = by_cell(out)
    lost = there.pop(("arxiv", "dying", 0))
    assert lost.status == "failed"
    assert lost.reason is not None
    assert lost.reason.startswith("its Slurm job died twice, the last time as job ")
    assert Path(lost.reason.partition("see ")[2]).is_file()
    assert [event.cell.spec.method for event in events if isinstance(event, Finished) and event.death] == ["dying"]
    assert sorted(event.cell.spec.method for event in events if isinstance(event, Finished)) == sorted(cell.spec.method for cell in cells)
    assert {event.cell.spec.method for event in events if isinstance(event, Started)} == {cell.spec.method for cell in cells}

    here = run([cell for cell in plan("here", methods) if cell.spec.method != "dying"])
    assert there.keys() == here.keys()
    for key, record in there.items():
        assert deterministic(record) == deterministic(here[key]), key
        assert record.environment.threads == 1


@pytest.mark.slow
def test_what_the_user_has_to_mend_ends_the_run(plan: Plan, tmp_path: Path) -> None:
    cells = plan("out", ["nudging"])
    gone = [replace(cell, model=str(tmp_path / "gone" / "lab")) for cell in cells]
    with pytest.raises(InputError, match=r"^on .+: .+gone/lab: no such model folder$"):
        runner.run(gone, cells[0].out, Slurm(None, 1, 0, cluster="local"), lambda event: None)
    assert by_cell(cells[0].out) == {}


def test_a_machine_without_slurm_is_named(plan: Plan) -> None:
    cells = plan("out", ["nudging"])
    with pytest.raises(InputError, match=r"^--executor slurm: .*srun.*$"):
        runner.run(cells, cells[0].out, Slurm(None, 1, 0), lambda event: None)


def test_a_job_that_slurm_refuses_is_an_input_error(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = {"srun": "exit 0", "sbatch": "cp $1 script; echo 'sbatch: error: invalid partition specified: attic' >&2; exit 1"}
    for name, does in commands.items():
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\ncd {tmp_path}; {does}\n")
        file.chmod(file.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    cells = plan("out", ["nudging"])
    with pytest.raises(InputError, match=r"^--executor slurm: the jobs were not accepted: .+$") as refused:
        runner.run(cells, cells[0].out, Slurm(None, 4, 2), lambda event: None)
    assert "invalid partition" in str(refused.value)
    script = (tmp_path / "script").read_text()
    assert "#SBATCH --cpus-per-task=4\n" in script
    assert "#SBATCH --gpus-per-node=2\n" in script
    assert by_cell(cells[0].out) == {}


def test_a_job_has_the_cells_of_a_task_or_a_share_of_all(plan: Plan) -> None:
    cells = plan("out", ["nudging"], ["arxiv", "books"])  # three of each
    assert [[cell.spec.task for cell in batch] for batch in _batches(cells, None)] == [["arxiv"] * 3, ["books"] * 3]
    assert [len(batch) for batch in _batches(cells, 4)] == [2, 2, 2]
    assert [len(batch) for batch in _batches(cells, 100)] == [1] * 6
    assert (cells[0].out / LOGS).exists() is False
