"""The installed `bench`, away from its sources: one command gives a leaderboard, and the same command again does nothing."""

from __future__ import annotations

import csv
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

import benchmark
import methods
import tasks
from benchmark import registry, store

pytestmark = pytest.mark.wheel

SOURCES = Path(__file__).resolve().parent.parent
BENCH = Path(sysconfig.get_path("scripts")) / "bench"


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `bench` in a folder of its own, with nothing but what is installed to be found."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "200"}
    command = [str(BENCH), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=3600, check=False)


@pytest.mark.parametrize("package", [benchmark, methods, tasks])
def test_what_is_tested_is_the_installed_package(package: object) -> None:
    file = Path(package.__file__).resolve()  # type: ignore[attr-defined]
    assert "site-packages" in file.parts
    assert file.parent.parent != SOURCES


EVERY_METHOD = ["--methods", "all", "--tasks", "arxiv"], sorted(registry.methods()), ["arxiv"]
EVERY_TASK = ["--methods", "npo", "--tasks", "all"], ["npo"], sorted(registry.tasks())


@pytest.mark.parametrize(("asked", "ran", "on"), [EVERY_METHOD, EVERY_TASK], ids=["every method", "every task"])
def test_one_command_gives_a_leaderboard_and_the_same_command_again_does_nothing(
    tmp_path: Path, asked: list[str], ran: list[str], on: list[str]
) -> None:
    command = ["run", *asked, "--quick", "--out", "out"]
    first = bench(tmp_path, *command)
    assert first.returncode == 0, first.stderr
    out = tmp_path / "out"
    cells = {(task, method) for task in on for method in (*registry.RESERVED, *ran)}
    assert len(registry.methods()) >= 30
    assert len(registry.tasks()) == 6
    records = {(record.spec.task, record.spec.method): record for record in store.read_all(out)}
    assert records.keys() == cells
    assert {cell: record.reason for cell, record in records.items() if record.status != "ok"} == {}
    assert {record.baseline.reference_kind for record in records.values() if record.baseline} == {"exact"}

    for suffix in ("md", "csv", "json", "html"):
        assert (out / f"leaderboard.{suffix}").stat().st_size > 1000
    assert any((out / "figures").iterdir())
    with (out / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["task"], row["method"]) for row in rows} == cells
    for method, expected in (("original", 0.0), ("retrained", 1.0)):
        scores = [float(row["forget_score_at_5_percent"]) for row in rows if row["method"] == method and row["forget_score_at_5_percent"]]
        assert scores == [expected] * len(scores)
        assert len(scores) >= len(on) / 2  # the others have too few documents, in a quick run, to tell target and reference apart

    left = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in (out / "records").iterdir()}
    tables = {file: file.read_bytes() for file in out.glob("leaderboard.*")}
    second = bench(tmp_path, *command)
    assert second.returncode == 0, second.stderr
    assert f"{len(cells)} cells, {len(cells)} on record in out, 0 to run" in second.stderr
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in (out / "records").iterdir()} == left
    assert {file: file.read_bytes() for file in out.glob("leaderboard.*")} == tables


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    refused = bench(tmp_path, "run", "--methods", "gradient-accent", "--out", "out")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == ["bench: error: unknown method 'gradient-accent'; did you mean 'gradient-ascent'?"]
    assert not (tmp_path / "out").exists()
