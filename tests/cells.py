"""Cells on the tiny lab, and what of their records must never vary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import runner, store
from benchmark.cell import Cell
from benchmark.executors.processes import local
from benchmark.plan import Options, plan
from benchmark.record import Protocol, Record

MISBEHAVING = Path(__file__).parent / "plugins" / "misbehaving.py"

QUICK = Protocol(max_steps=4, growth=2.0, limit=2)

VARYING = {"environment", "seconds", "cpu_seconds", "peak_memory", "prepare_cost"}
"""What two runs of a cell may differ in; of `prepare_cost` the deterministic parts are compared elsewhere."""


def planned(lab: Path, corpus: Path, out: Path, methods: Sequence[str], tasks: Sequence[str] = ("arxiv",), **options: Any) -> list[Cell]:
    """The cells of some methods, the misbehaving plugin's among them, reference rows included."""
    given: dict[str, Any] = {"protocol": QUICK, "plugins": [MISBEHAVING]} | options
    return plan(Options(methods=methods, tasks=tasks, model=str(lab), data=corpus, out=out, **given))[1]


def run(cells: Sequence[Cell], jobs: int = 1) -> dict[tuple[str, str, int], Record]:
    """Run cells; their records by task, method and seed."""
    runner.run(cells, cells[0].out, local(jobs), lambda event: None)
    return by_cell(cells[0].out)


def by_cell(out: Path) -> dict[tuple[str, str, int], Record]:
    """The records of a folder by task, method and seed."""
    return {(record.spec.task, record.spec.method, record.spec.seed): record for record in store.read_all(out)}


def deterministic(record: Record) -> object:
    """All of a record that must be the same whenever and wherever it is made."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in VARYING}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(record.model_dump(mode="json"))
