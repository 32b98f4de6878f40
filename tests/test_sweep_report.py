"""What a sweep writes: trials, robustness, and on domain tasks the drops of every setting."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from records import Kind, Removes, record, spec

from benchmark.leaderboard import drops
from benchmark.leaderboard.rows import rows
from benchmark.record import Cost, Record, Step
from benchmark.registry import MethodEntry
from benchmark.sweep.report import report
from methods.selective_pruning import SelectivePruning

ENTRY = MethodEntry("pruning", SelectivePruning, {})
VARIED = {"pruning": ["importance"]}
FIELDS: dict[str, Any] = {"importance": "abs", "kept": "retain", "where": "feed-forward", "step": 0.02}


def trial(importance: str, path: list[tuple[float, float]], kind: Kind = "none", removes: Removes = "domain", seed: int = 0) -> Record:
    """A record that passes through (drop on forget, drop on retain)."""
    made = record(
        spec("pruning", "code-domain", hyperparameters=FIELDS | {"importance": importance}, seed=seed), kind=kind, removes=removes
    )
    steps = [
        Step(
            step=3 * number,
            nll={},
            top1={"forget": 0.4 * (1 - forget), "retain": 0.6 * (1 - retain)},
            damage=retain,
            score=forget if kind == "exact" else None,
            cost=Cost(),
        )
        for number, (forget, retain) in enumerate([(0.0, 0.0), *path])
    ]
    return made.model_copy(update={"trajectory": tuple(steps)})


ABS = trial("abs", [(0.1, 0.02), (0.5, 0.1), (0.9, 0.6)])
STD = trial("std", [(0.2, 0.3), (0.25, 0.24), (0.3, 0.9)])


def test_the_largest_difference_of_each_setting() -> None:
    first, second = drops.differences(rows([STD, ABS]), "code-domain")
    assert (first.setting, first.step) == ("importance=abs", 6)
    assert (first.difference, first.forget_drop, first.retain_drop) == pytest.approx((0.4, 0.5, 0.1))
    assert (second.setting, second.step) == ("importance=std", 6)
    assert second.difference == pytest.approx(0.01)
    assert first.difference == first.row.max_difference
    assert drops.differences(rows([STD, ABS]), "other") == []


def test_seeds_are_averaged() -> None:
    (found,) = drops.differences(rows([ABS, trial("abs", [(0.3, 0.1)], seed=1)]), "code-domain")
    assert found.setting == drops.OWN
    assert (found.difference, found.step, found.forget_drop, found.retain_drop) == pytest.approx((0.3, 4.5, 0.4, 0.1))


def test_a_sweep_of_a_domain_task_without_scores() -> None:
    files = report([ABS, STD], [ENTRY], ["code-domain"], 0.05, VARIED)
    assert set(files) == {"sweep.md", "sweep.csv", "figures/code-domain.svg", "figures/code-domain.png"}
    told = files["sweep.md"].decode()
    assert "| pruning | **importance=abs** | **0.080** | 0.080 |" in told
    assert "code-domain: largest relative top-1 drop on forget less that on retain, along the trajectory, on validation" in told
    assert "| pruning  | importance=abs |           40.0 % |      6 |        50.0 % |        10.0 % |" in told
    assert "![code-domain: what is lost on forget and on retain](figures/code-domain.svg)" in told
    assert "Robustness" not in told
    lines = list(csv.DictReader(io.StringIO(files["sweep.csv"].decode())))
    assert [json.loads(line["hyperparameters"])["importance"] for line in lines] == ["abs", "std"]
    assert [float(line["max_top1_difference_validation"]) for line in lines] == pytest.approx([0.4, 0.01])
    assert float(lines[0]["validation_merit_at_5_percent"]) == pytest.approx(0.08)
    assert report([STD, ABS], [ENTRY], ["code-domain"], 0.05, VARIED) == files


def test_a_sweep_of_a_scored_document_task() -> None:
    records = [trial(kind, [(0.2, 0.01), (0.4, 0.04)], "exact", "documents") for kind in ("abs", "std")]
    files = report(records, [ENTRY], ["code-domain"], 0.05, VARIED)
    assert set(files) == {"sweep.md", "sweep.csv", "tuning.csv", "robustness.csv", "figures/tuning.svg", "figures/tuning.png"}
    assert "Robustness to hyper-parameters, on validation" in files["sweep.md"].decode()
    (line,) = csv.DictReader(io.StringIO(files["robustness.csv"].decode()))
    assert (line["method"], line["points"], float(line["inside"]), float(line["best"])) == ("pruning", "2", 1.0, 0.2)


def test_a_failed_cell_is_listed_and_not_drawn() -> None:
    failed = record(spec("pruning", "code-domain", hyperparameters=FIELDS), kind="none", removes="domain", status="failed", reason="no")
    files = report([failed], [ENTRY], ["code-domain"], 0.05, VARIED)
    assert set(files) == {"sweep.md", "sweep.csv"}
    (line,) = csv.DictReader(io.StringIO(files["sweep.csv"].decode()))
    assert (line["status"], line["reason"], line["max_top1_difference_validation"]) == ("failed", "no", "")


def test_no_figure_of_more_lines_than_can_be_told_apart() -> None:
    found = drops.differences(rows([ABS]), "code-domain")
    assert drops.figure(found * drops.MOST, "code-domain") is not None
    assert drops.figure(found * (drops.MOST + 1), "code-domain") is None
    assert drops.figure([], "code-domain") is None
