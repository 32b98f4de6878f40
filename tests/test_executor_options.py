"""The options that say where cells are run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmark.cli.executor import chosen
from benchmark.errors import InputError
from benchmark.executors.here import Here
from benchmark.executors.processes import Processes
from benchmark.executors.ray import Ray
from benchmark.executors.slurm import Slurm


def test_the_default_is_this_machine(tmp_path: Path) -> None:
    assert chosen("local", 1, None, None, "cpu", tmp_path) == Here()
    assert chosen("local", 3, None, None, "cpu", tmp_path) == Processes(3)
    assert chosen("local", None, None, None, "cuda:1", tmp_path) == Here()


def test_a_cell_gets_a_cpu_and_with_cuda_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    there = chosen("ray", None, None, None, "cuda", tmp_path)
    assert isinstance(there, Ray)
    assert (there.jobs, there.cpus, there.gpus) == (None, 1.0, 1.0)
    there = chosen("ray", None, None, 4.0, "auto", tmp_path)
    assert isinstance(there, Ray)
    assert there.gpus == 4.0
    there = chosen("ray", 7, 0.5, 0.25, "cuda", tmp_path)
    assert isinstance(there, Ray)
    assert (there.jobs, there.cpus, there.gpus) == (7, 0.5, 0.25)
    assert chosen("slurm", 5, 8.0, None, "cpu", tmp_path) == Slurm(5, 8, 0)


@pytest.mark.parametrize(
    ("name", "cpus", "gpus", "device", "complaint"),
    [
        ("local", 2.0, None, "cpu", "--cpus-per-cell goes with --executor ray or slurm"),
        ("local", None, 0.5, "cuda", "--gpus-per-cell goes with --executor ray or slurm"),
        ("ray", 0.0, None, "cpu", "--cpus-per-cell must be above 0"),
        ("ray", None, -1.0, "cuda", "--gpus-per-cell 0 or above"),
        ("ray", None, None, "cuda:1", "--device cuda:1: with --executor ray a cell is given its GPU; say cuda"),
        ("ray", None, 0.0, "cuda", "--gpus-per-cell 0 on device cuda: GPUs go with --device cuda"),
        ("slurm", None, 1.0, "cpu", "--gpus-per-cell 1 on device cpu: GPUs go with --device cuda"),
        ("slurm", None, 0.5, "cuda", "whole numbers"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, name: str, cpus: float | None, gpus: float | None, device: str, complaint: str
) -> None:
    if name != "local":
        pytest.importorskip({"ray": "ray", "slurm": "submitit"}[name])
    with pytest.raises(InputError) as refused:
        chosen(name, None, cpus, gpus, device, tmp_path)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"^--executor {name}: .+ is not installed; pip install 'unlearning-bench\[{name}\]'$"):
        chosen(name, None, None, None, "cpu", tmp_path)
