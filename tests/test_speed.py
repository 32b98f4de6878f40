"""The speed report: turns are taken fairly, and a missed limit is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmark import LanguageModel, Request, registry, speed
from benchmark.environment import environment
from benchmark.loading import ON_CPU
from benchmark.speed import Measured, Report


def test_turns_alternate_and_the_first_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = [0.0], []
    monkeypatch.setattr(speed.time, "process_time", lambda: clock[0])
    warm_up = iter([100.0, 1.0])

    def work(side: str) -> Callable[[], None]:
        def run() -> None:
            log.append(side)
            clock[0] += {"ours": 3.0, "plain": 2.0}[side] if len(log) > 2 else next(warm_up)

        return run

    measured = speed._pair("pair", 1.25, work("ours"), work("plain"), turns=3)
    assert log == ["ours", "plain", "plain", "ours", "ours", "plain", "plain", "ours"]
    assert (measured.value, measured.ours, measured.plain, measured.turns) == (1.5, 3.0, 2.0, 3)


def test_both_sides_of_the_optimiser_step_do_the_same_arithmetic(
    tiny_lm: Callable[..., LanguageModel], request_for: Callable[..., Request]
) -> None:
    registry.methods()
    lm = tiny_lm()
    measured = speed._optimiser_step(lm, lm.folder, request_for(lm), turns=3)  # raises where the weights part
    assert measured.ours is not None
    assert measured.ours > 0


def test_scoring_leaves_the_model_as_it_was(tiny_lm: Callable[..., LanguageModel], request_for: Callable[..., Request]) -> None:
    lm = tiny_lm()
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    assert [line.unit for line in speed._scoring(lm, request_for(lm), turns=3)] == ["ratio"] * 5
    assert all(torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())


def test_the_report_is_written_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (
        Measured(name="quick", value=0.9, unit="ratio", limit=1.0),
        Measured(name="slow", value=2.0, unit="seconds", limit=1.0),
        Measured(name="noted", value=3.0, unit="ratio", limit=None),
    )
    report = Report(environment=environment(ON_CPU), model="lab", measured=lines)
    monkeypatch.setattr(speed, "measure_speed", lambda model, turns: report)
    speed.main(tmp_path / "new" / "speed.json", "lab", 3)
    assert Report.model_validate_json((tmp_path / "new" / "speed.json").read_text("utf-8")) == report
    quick, slow, noted, where = capsys.readouterr().out.splitlines()
    assert quick.endswith("ok (at most 1)")
    assert slow.endswith("MISSED (at most 1)")
    assert noted.endswith("3.000 ratio")
    assert "PyTorch" in where
