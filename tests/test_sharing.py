"""Cells side by side share the memory of their machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmark.cell import Cell
from benchmark.executors import processes, sharing
from benchmark.executors.ray import Worker, _abreast
from benchmark.loading import Loading
from benchmark.memory import at_hand as memory_at_hand

Plan = Callable[..., list[Cell]]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[torch.device]]:
    """A machine with 1000 bytes left wherever it is asked; where that was."""
    asked: list[Sequence[torch.device]] = []
    monkeypatch.setattr(memory_at_hand, "free_memory", lambda devices: asked.append(devices) or 1000)
    return asked


def test_each_process_plans_with_its_part(plan: Plan, free: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cells = plan("out", ["nudging"])
    given: list[Sequence[Cell]] = []
    monkeypatch.setattr(processes, "_run", lambda cells, jobs, report: given.append(cells))
    processes.Processes(2).run(cells, lambda event: None)
    assert [cell.memory for cell in given[0]] == [450] * len(cells)  # half of nine tenths
    assert [replace(cell, memory=None) for cell in given[0]] == cells
    processes.Processes(99).run(cells, lambda event: None)
    assert [cell.memory for cell in given[1]] == [900 // len(cells)] * len(cells)  # there are no more processes than cells


def test_a_limit_that_was_asked_for_stays_and_one_process_needs_none(plan: Plan, free: list[Any]) -> None:
    cells = plan("out", ["nudging"])
    assert sharing.sharing(cells, 1) == cells
    assert not free
    limited = [replace(cells[0], memory=7), *cells[1:]]
    assert [cell.memory for cell in sharing.sharing(limited, 3)] == [7] + [300] * (len(cells) - 1)


@pytest.mark.parametrize(
    ("loading", "devices"),
    [
        (Loading(), ["cpu"]),
        (Loading("cuda:1"), ["cuda:1"]),
        (Loading("cuda", device_map="auto"), ["cuda:0", "cuda:1"]),
    ],
)
def test_what_is_shared_is_where_the_model_goes(
    loading: Loading, devices: list[str], free: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert memory_at_hand.free_for(loading) == 900
    assert free == [[torch.device(name) for name in devices]]


class Nodes:
    """A Ray cluster of one machine that is gone and two that are not."""

    def nodes(self) -> list[dict[str, Any]]:
        machines = [(True, {"CPU": 8.0, "GPU": 1.0}), (True, {"CPU": 2.0}), (False, {"CPU": 64.0})]
        return [{"Alive": alive, "Resources": resources} for alive, resources in machines]


@pytest.mark.parametrize(("cpus", "gpus", "abreast"), [(1, 0, 8), (3, 0, 2), (16, 0, 1), (1, 0.5, 2), (1, 0.4, 2), (1, 1, 1), (1, 2, 1)])
def test_actors_share_a_gpu_or_else_a_machine(cpus: float, gpus: float, abreast: int) -> None:
    assert _abreast(Nodes(), cpus, gpus) == abreast


def test_an_actor_keeps_the_part_that_it_began_with(plan: Plan, free: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.executors import ray

    cells = plan("out", ["nudging"])
    ran: list[Any] = []
    monkeypatch.setattr(ray, "run_elsewhere", ran.append)
    worker = Worker(1, {}, abreast=3)
    for cell in (cells[0], cells[1], replace(cells[2], memory=7)):
        worker.run(cell)
        monkeypatch.setattr(memory_at_hand, "free_memory", lambda devices: 1)
    Worker(1, {}).run(cells[0])
    assert [cell.memory for cell in ran] == [300, 300, 7, None]
