"""Measuring at size, on a model of no size: both sides do the same work, and the report says what was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch

from benchmark import LanguageModel, at_size, registry
from benchmark.at_size import Report, measure_at_size, table
from benchmark.at_size_work import Measured, Side, Work, measured, ours, plain, texts
from benchmark.environment import environment
from benchmark.errors import InputError
from benchmark.loading import ON_CPU
from benchmark.model import load_model
from benchmark.record import Dtype


@pytest.mark.parametrize("work", ["pruning", "gradient"])
def test_both_sides_do_the_same_work(work: Work, tiny_lm: Callable[..., LanguageModel]) -> None:
    registry.methods()
    folder = tiny_lm().folder
    lm, other, untouched = (load_model(folder) for _ in range(3))
    forget, kept = texts(lm.tokenizer, lm.context, 2)
    assert forget.mask.all()
    assert kept.mask.all()
    for run in (ours(work, lm, forget, kept), plain(work, other.model, forget, kept)):
        run()
    changed = 0
    for a, b, before in zip(lm.model.parameters(), other.model.parameters(), untouched.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
        changed += int((a != before).sum())
    assert changed > 10


@pytest.mark.parametrize("work", get_args(Work))
def test_each_side_is_measured(work: Work, tiny_lm: Callable[..., LanguageModel]) -> None:
    folder = tiny_lm().folder
    lines: dict[Side, Measured] = {side: measured(folder, work, side, 16, 2, ON_CPU) for side in get_args(Side)}
    assert lines["ours"].tokens == lines["plain"].tokens == 2 * 16 * (1 if work == "evaluation" else 2)
    assert lines["ours"].flops > 0 == lines["plain"].flops
    assert all(line.seconds > 0 and line.parameters > 10_000 for line in lines.values())
    assert ("optimiser_state" in lines["ours"].planned_memory) == (work == "gradient")
    assert not lines["plain"].planned_memory


@pytest.mark.long
def test_a_folder_of_config_and_tokenizer_gives_a_report(tiny_lm: Callable[..., LanguageModel]) -> None:
    report = measure_at_size(tiny_lm().folder, 16, 1, ON_CPU)
    assert [(line.work, line.side) for line in report.measured] == [(work, side) for work in get_args(Work) for side in get_args(Side)]
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_a_folder_without_a_model_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected config.json and tokenizer.json"):
        measure_at_size(tmp_path, 16, 1, ON_CPU)


def report_of(device: str, dtype: Dtype) -> Report:
    def line(work: Work, side: Side, peak: int, planned: dict[str, int]) -> Measured:
        return Measured(
            work=work,
            side=side,
            seconds=2.0,
            cpu_seconds=3.0,
            tokens=1000,
            flops=int(5e14) if side == "ours" else 0,
            parameters=100,
            peak_memory=peak,
            planned_memory=planned,
        )

    lines = (
        line("evaluation", "ours", 1000, {}),
        line("evaluation", "plain", 1000, {}),
        line("pruning", "ours", 1050, {}),
        line("pruning", "plain", 900, {}),
        line("gradient", "ours", 2500, {"weights": 400, "activations": 900, "added_up": 100}),
        line("gradient", "plain", 2400, {}),
    )
    return Report(
        environment=environment(ON_CPU).model_copy(update={"device": device}),
        model="m",
        dtype=dtype,
        load=1.0,
        length=16,
        windows=1,
        measured=lines,
    )


def test_the_figures_follow_from_what_was_measured() -> None:
    report = report_of("NVIDIA H200", "bfloat16")
    assert report.bytes_a_weight == 15.0
    assert report.over_inference == 1.05
    assert report.utilisation(report.of("gradient", "plain")) == pytest.approx(5e14 / 2.0 / 989e12)
    assert "| gradient | plain | 2.0 | 3.0 | 500 | 0.00 | 25% |" in table(report)
    assert report_of("NVIDIA H200", "float32").utilisation(report.measured[0]) is None
    assert "peak |" not in table(report_of("cpu", "float32"))


def test_the_page_beside_shows_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of("cpu", "float32")
    monkeypatch.setattr(at_size, "measure_at_size", lambda *given: report)
    (tmp_path / "README.md").write_text("before\n<!-- at-size -->\nold\n<!-- /at-size -->\nafter\n")
    at_size.main(tmp_path, tmp_path / "at-size.json", 16, 1, "cpu", "float32")
    assert (tmp_path / "README.md").read_text() == f"before\n<!-- at-size -->\n{table(report)}\n<!-- /at-size -->\nafter\n"
    assert table(report) in capsys.readouterr().out


def test_the_published_table_is_of_the_published_figures() -> None:
    results = Path(__file__).parents[1] / "results"
    report = Report.model_validate_json((results / "at-size.json").read_text("utf-8"))
    assert table(report) in (results / "README.md").read_text("utf-8")
