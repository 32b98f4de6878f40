"""Cells on a Ray cluster of two workers: the records of the in-process run, and a worker that is killed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from cells import MISBEHAVING, by_cell, deterministic, run

from benchmark import runner
from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.executors import Event, Finished, Started
from benchmark.executors.ray import Ray, _next

os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}
"""Read once, when Ray is imported: it must be so before that, for us and for the clusters that we start."""

pytest.importorskip("ray", reason="the extra `ray` is not installed")

Plan = Callable[..., list[Cell]]

pytestmark = pytest.mark.usefixtures("no_plugin_stays")

CLUSTER = """
import sys
import ray
ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False, logging_level="error")
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster with room for two workers, in whose environment `DIED` names a file."""
    environment = os.environ | {"DIED": str(tmp_path / "died")}
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        monkeypatch.setenv("RAY_ADDRESS", address)
        yield address
        process.communicate()


def ray(said: list[str], jobs: int | None = None, cpus: float = 1.0) -> Ray:
    return Ray(jobs, cpus, 0.0, said.append)


@pytest.mark.slow
def test_a_cluster_gives_the_same_records_and_a_cell_whose_worker_is_killed_another_try(
    plan: Plan, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["dying", "dying-once", "gradient-difference", "noisy", "raising"]
    cells = plan("cluster", methods)
    out = cells[0].out
    events: list[Event] = []
    said: list[str] = []
    with pytest.raises(InputError, match=r"^no machine of the Ray cluster has 64 CPUs and 0 GPUs for a cell: ask for less "):
        runner.run(cells, out, ray(said, cpus=64.0), events.append)
    assert (events, by_cell(out)) == ([], {})
    monkeypatch.chdir(tmp_path)
    relative = [replace(cell, out=out.relative_to(tmp_path)) for cell in cells]  # a worker's own folder is another
    runner.run(relative, out, ray(said), events.append)
    assert said == []
    assert runner.missing(cells, out) == []
    there = by_cell(out)

    lost = there.pop(("arxiv", "dying", 0))
    assert lost.status == "failed"
    assert lost.reason is not None
    assert lost.reason.startswith("its Ray worker died twice (ActorDiedError: ")
    assert "\n" not in lost.reason
    starts = [event.cell.spec.method for event in events if isinstance(event, Started)]
    assert {method: starts.count(method) for method in starts} == {
        "original": 1,
        "retrained": 1,
        "dying": 2,
        "dying-once": 2,
        "gradient-difference": 1,
        "noisy": 1,
        "raising": 1,
    }
    assert [event.cell.spec.method for event in events if isinstance(event, Finished) and event.death] == ["dying"]
    assert sorted(event.cell.spec.method for event in events if isinstance(event, Finished)) == sorted(cell.spec.method for cell in cells)

    assert (tmp_path / "died").is_file()
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    here = run([cell for cell in plan("here", methods) if cell.spec.method != "dying"])
    assert there.keys() == here.keys()
    for key, record in there.items():
        assert deterministic(record) == deterministic(here[key]), key
        assert record.environment.threads == 1


RUN = """
import signal
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from cells import planned
from benchmark import runner
from benchmark.executors import Started
from benchmark.executors.ray import Ray

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    cells = planned(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), ["waiting"])
    told = lambda event: print(type(event).__name__, event.cell.spec.method, flush=True)
    try:
        runner.run(cells, cells[0].out, Ray(1, 1.0, 0.0, print), told)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.long
def test_an_interrupted_run_on_a_ray_of_its_own_leaves_nothing_behind(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(RUN)
    arguments = [sys.executable, script, MISBEHAVING.parent.parent, tiny_lab, tiny_corpus, tmp_path / "out"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"SECONDS_A_STEP": "600"}
    with subprocess.Popen([str(part) for part in arguments], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            assert next(lines) == "RAY_ADDRESS is not set: a Ray of this machine alone is started\n"
            assert "Started waiting\n" in lines
            family = psutil.Process(process.pid).children(recursive=True)
            assert {"gcs_server", "raylet"} <= {child.name() for child in family}
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=120) == 130
        finally:
            process.kill()  # or a failure here would wait for it
    _, alive = psutil.wait_procs(family, timeout=120)
    assert not alive
    assert {method for _, method, _ in by_cell(tmp_path / "out")} == {"original", "retrained"}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_a_cluster_out_of_reach_is_said_at_once(plan: Plan, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    cells = plan("out", ["nudging"])
    with pytest.raises(InputError, match=rf"^RAY_ADDRESS={address}: no Ray cluster can be used there: .+$"):
        runner.run(cells, cells[0].out, ray([]), lambda event: None)
    assert by_cell(cells[0].out) == {}


def test_a_worker_stays_at_its_task_while_there_is_anything_of_it(plan: Plan) -> None:
    cells = plan("out", ["nudging"], ["arxiv", "books"])  # three of each
    waiting = list(cells)
    first = _next(waiting, None, [])
    second = _next(waiting, None, [first])
    assert [first.spec.task, second.spec.task] == ["arxiv", "books"]
    for _ in range(2):
        assert _next(waiting, second, [first]).spec.task == "books"
    assert _next(waiting, second, [first]).spec.task == "arxiv"
    assert [cell.spec.task for cell in waiting] == ["arxiv"]
