"""The panel: what is asked for is measured on target, reference and unlearned model, and only what is missing is measured again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from cells import MISBEHAVING, QUICK, by_cell, planned, run
from conftest import documents

from benchmark import LanguageModel, registry, runner
from benchmark import measure as measuring
from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.loading import ON_CPU
from benchmark.measure import evaluation_text
from benchmark.panel import panel
from benchmark.panel.documents import over_documents
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject, predictions
from benchmark.record import MetricValue
from benchmark.yardstick import Yardstick, yardstick_for

Models = Callable[..., LanguageModel]

PLUGIN = """
from benchmark import Metric, MetricValue

WEIGHTS = Metric(
    name="weights", axis="robustness", summary="sum of all weights", unit="1", low=None, high=None, knows="neither", source="made up",
    measure=lambda subject: MetricValue(agg_value=sum(float(p.detach().double().sum()) for p in subject.lm.model.parameters())),
)
"""


def metric(name: str, measure: Callable[[Subject], MetricValue], **card: object) -> Metric:
    return Metric(
        **{  # type: ignore[arg-type]
            "name": name,
            "axis": "forgetting",
            "summary": "",
            "unit": "",
            "low": None,
            "high": None,
            "knows": "higher",
            "source": "",
            "measure": measure,
            **card,
        }
    )


@pytest.fixture
def yardstick(tiny_lab: Path, tiny_corpus: Path) -> Yardstick:
    return yardstick_for("arxiv", str(tiny_lab), 0, tiny_corpus, QUICK, ON_CPU, ())


@pytest.fixture
def subject(yardstick: Yardstick, tiny_lm: Models) -> Subject:
    from benchmark.model import load_model

    return yardstick.subject(load_model(yardstick.target))


class TestAsked:
    def test_core_is_a_part_of_full(self) -> None:
        assert set(panel.asked("core")) < set(panel.asked("full")) == set(registry.metrics())
        assert panel.asked("none") == ()

    def test_names_alone_and_beside_the_core(self) -> None:
        assert panel.asked("exact_memorization, exact_memorization") == ("exact_memorization",)
        extra = next(name for name, one in registry.metrics().items() if not one.core)
        assert panel.asked(f"core,{extra}") == tuple(sorted({*panel.asked("core"), extra}))

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ("exact_memorisation", "unknown metric 'exact_memorisation'; did you mean 'exact_memorization'?"),
            ("mia_loss,forget_score", "--panel mia_loss,forget_score: forget_score is measured of every method; leave it out"),
            (" , ", "--panel: no metric named; give core, full, none or names from `bench list metrics`"),
            ("none,core", "--panel none,core: none with something else; give one or the other"),
        ],
    )
    def test_what_cannot_be_meant(self, asked: str, said: str) -> None:
        with pytest.raises(InputError) as caught:
            panel.asked(asked)
        assert str(caught.value) == said


class TestValues:
    def test_a_metric_that_fails_is_missing_with_its_reason(self, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(subject: Subject) -> MetricValue:
            raise RuntimeError("no such layer")

        known = {
            "fails": metric("fails", fails),
            "infinite": metric("infinite", lambda subject: MetricValue.model_construct(agg_value=float("inf"))),
            "fine": metric("fine", lambda subject: MetricValue(agg_value=0.5)),
            "of the text": metric("of the text", lambda subject: MetricValue(agg_value=0.1), axis="validity"),
        }
        monkeypatch.setattr(registry, "metric", known.__getitem__)
        values = panel.measured(tuple(known), subject)
        assert {name: (value.agg_value, value.reason) for name, value in values.items()} == {
            "fails": (None, "RuntimeError: no such layer"),
            "infinite": (None, "not finite"),
            "fine": (0.5, None),
        }
        assert list(panel.measured_text(tuple(known), subject)) == ["of the text"]

    def test_a_mean_over_documents_and_its_interval(self) -> None:
        value = over_documents({"a": 0.0, "b": 1.0, "c": 0.5})
        assert value.agg_value == 0.5
        assert value.interval is not None
        low, high = value.interval
        assert 0.0 <= low < 0.5 < high <= 1.0
        assert value.value_by_index["b"] == {"score": 1.0}
        assert over_documents({"a": 0.3}).interval is None
        with pytest.raises(ValueError, match="no document"):
            over_documents({})


class TestPredictions:
    @pytest.mark.parametrize("tokens", [1, 64, 4096])
    def test_are_those_of_each_window_by_itself(self, tokens: int, tiny_lm: Models) -> None:
        lm = tiny_lm()
        text = evaluation_text(lm, documents("retain", 5), 10**9)
        with patch.object(measuring, "BATCH_TOKENS", tokens):
            found = predictions(lm, text)
        for row in range(len(text.passages)):
            ids = text.passages.ids[row][text.passages.mask[row]]
            with torch.no_grad():
                logs = lm.model(input_ids=ids[None]).logits[0, :-1].double().log_softmax(dim=-1)
            chances = logs.exp()
            count = len(ids) - 1
            truth = logs.gather(-1, ids[1:, None])[:, 0]
            mean = (chances * logs).sum(dim=-1)
            spread = ((chances * logs.square()).sum(dim=-1) - mean.square()).sqrt()
            assert found.mask[row].sum() == count
            for values, expected in ((found.log_probability, truth), (found.mean, mean), (found.deviation, spread)):
                assert torch.allclose(values[row, :count].double(), expected, atol=1e-4)
                assert (values[row, count:] == 0).all()
            assert torch.equal(found.hit[row, :count], logs.argmax(dim=-1) == ids[1:])
        assert torch.cat(found.by_document(5)).tolist() == list(range(len(text.passages)))


class TestAltered:
    def test_the_model_is_itself_again(self, subject: Subject) -> None:
        model = subject.lm.model
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        first = next(model.parameters())
        first.requires_grad_(False)

        def attack() -> None:
            with subject.altered() as lm:
                for parameter in lm.model.parameters():
                    parameter.requires_grad_(True)
                    parameter.data.add_(1.0)
                torch.stack([parameter.sum() for parameter in lm.model.parameters()]).sum().backward()
                raise KeyError

        with pytest.raises(KeyError):
            attack()
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
        assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1


class TestOnRecord:
    @pytest.fixture
    def cells(self, tiny_lab: Path, tiny_corpus: Path, tmp_path: Path, no_plugin_stays: None) -> Callable[[str], list[Cell]]:
        return lambda asked: planned(tiny_lab, tiny_corpus, tmp_path / "out", ["nudging"], panel=asked)

    def test_target_reference_and_unlearned_model(self, cells: Callable[[str], list[Cell]]) -> None:
        records = run(cells("exact_memorization"))
        by_method = {method: record for (_, method, _), record in records.items()}
        target, reference = (by_method["nudging"].baseline.target_panel, by_method["nudging"].baseline.reference_panel)  # type: ignore[union-attr]
        assert target["exact_memorization"].agg_value > reference["exact_memorization"].agg_value  # type: ignore[operator]
        for method, expected in (("original", target), ("retrained", reference)):
            headline = [point for point in by_method[method].operating_points if point.budget == QUICK.headline]
            assert [point.panel for point in headline] == [expected]
        assert all((point.panel is None) == (point.budget != QUICK.headline) for point in by_method["nudging"].operating_points)
        assert by_method["nudging"].panel == panel.versions(["exact_memorization"])

    def test_asking_for_more_adds_and_asking_for_less_does_nothing(
        self, cells: Callable[[str], list[Cell]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out"
        run(cells("none"))
        assert runner.missing(cells("none"), out) == []
        wanted = runner.missing(cells("exact_memorization"), out)
        assert len(wanted) == 3
        run(wanted)
        assert runner.missing(cells("none"), out) == []
        assert runner.missing(cells("exact_memorization"), out) == []
        another = next(name for name in registry.metrics() if name != "exact_memorization")
        assert {cell.panel for cell in runner.missing(cells(another), out)} == {tuple(sorted({another, "exact_memorization"}))}
        newer = dataclasses.replace(registry.metric("exact_memorization"), version=10**6)
        monkeypatch.setitem(registry._metrics, "exact_memorization", newer)
        assert len(runner.missing(cells("exact_memorization"), out)) == 3

    def test_a_cell_that_failed_is_not_tried_again_for_a_metric(
        self, tiny_lab: Path, tiny_corpus: Path, tmp_path: Path, no_plugin_stays: None
    ) -> None:
        run(planned(tiny_lab, tiny_corpus, tmp_path / "out", ["raising"], panel="none"))
        cells = planned(tiny_lab, tiny_corpus, tmp_path / "out", ["raising"], panel="exact_memorization")
        assert [cell.spec.method for cell in runner.missing(cells, tmp_path / "out")] == ["original", "retrained"]

    def test_a_metric_of_a_plugin(self, tiny_lab: Path, tiny_corpus: Path, tmp_path: Path, no_plugin_stays: None) -> None:
        (tmp_path / "mine.py").write_text(PLUGIN)
        plugins = [MISBEHAVING, tmp_path / "mine.py"]
        run(planned(tiny_lab, tiny_corpus, tmp_path / "out", ["nudging"], panel="weights", plugins=plugins))
        found = {method: record.operating_points[1].panel for (_, method, _), record in by_cell(tmp_path / "out").items()}
        assert all(values is not None for values in found.values())
        sums = {method: values["weights"].agg_value for method, values in found.items() if values is not None}
        assert sums["original"] != sums["retrained"]
