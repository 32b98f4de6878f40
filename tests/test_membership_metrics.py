"""Membership attacks: by hand, against float64, and on a tiny lab."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import documents
from torch.nn import functional as F
from transformers import PreTrainedModel

from benchmark import LanguageModel, registry
from benchmark import measure as measuring
from benchmark.check.subjects import FAMILIES
from benchmark.loading import ON_CPU
from benchmark.measure import EvaluationText, evaluation_text, measure
from benchmark.metrics.membership import SIMPLE, min_k, min_k_plus_plus, per_compressed_byte
from benchmark.panel.contrast import Example
from benchmark.panel.subject import Predictions, Subject
from benchmark.passages import Passages
from benchmark.record import Baseline, MetricValue, Protocol
from benchmark.yardstick import Yardstick, yardstick_for

Models = Callable[..., LanguageModel]
Windows = tuple[torch.Tensor, torch.Tensor]

ATTACKS = tuple(name for name in registry.metrics() if name.startswith("mia_"))
BLIND = ("blind_ngrams", "blind_zlib")


def value(name: str, subject: Subject) -> MetricValue:
    return registry.metric(name).measure(subject)


def example(*nll: float, mean: float = -2.0, deviation: float = 1.0, text: str = "text") -> Example:
    log_probability = -torch.tensor(nll, dtype=torch.float64)
    return Example(log_probability, torch.full_like(log_probability, mean), torch.full_like(log_probability, deviation), text)


class TestAttacksByHand:
    def test_min_k_is_the_mean_over_the_two_fifths_least_likely(self) -> None:
        assert min_k(example(1, 5, 2, 4, 3)) == 4.5
        assert min_k(example(1, 5, 2, 4)) == 5  # 1.6 tokens are one
        assert min_k(example(1, 5)) == 5  # and none is one too

    def test_min_k_plus_plus_is_in_deviations_from_what_was_expected(self) -> None:
        assert min_k_plus_plus(example(1, 5, 2, 4, 3, mean=-2, deviation=0.5)) == ((5 - 2) / 0.5 + (4 - 2) / 0.5) / 2
        assert min_k_plus_plus(example(3, mean=-2, deviation=0)) == pytest.approx(1000)  # OpenUnlearning's floor of 1e-6 under the variance

    def test_zlib_is_nats_a_compressed_byte(self) -> None:
        assert per_compressed_byte(example(1, 2, 3, text="aé" * 50)) == 6 / len(zlib.compress(("aé" * 50).encode()))

    def test_a_long_document_is_no_member_for_being_long(self) -> None:
        """OpenUnlearning divides a mean NLL by the length of the whole compressed text: twice the text is half the score."""
        noise = np.random.default_rng(0)
        short, long = ("".join(map(chr, noise.integers(32, 127, size))) for size in (2000, 4000))
        found = [per_compressed_byte(example(*[2.0] * len(text), text=text)) for text in (short, long)]
        assert found[0] == pytest.approx(found[1], rel=0.02)


def on_text(lm: LanguageModel, **texts: EvaluationText) -> Subject:
    """A model on documents of two topics, of no task, against itself as its reference."""
    made = {"forget": documents("forget", 4), "holdout": documents("retain", 5)}
    texts = {name: evaluation_text(lm, some, 10**9) for name, some in made.items()} | texts
    measured = measure(lm, texts)
    baseline = Baseline(
        reference_kind="exact",
        target_validation=measured,
        target_test=measured,
        reference_validation=measured,
        reference_test=measured,
        noise_floor=None,
    )
    return Subject(lm, texts, texts, texts["forget"].passages, None, baseline)


def exact_windows(lm: LanguageModel, text: EvaluationText) -> Iterator[tuple[str, PreTrainedModel, list[Windows]]]:
    """Of each document, a float64 model, and (log-probabilities, true tokens) of its windows, run alone and without padding."""
    exact = lm.copy().model.double().eval()
    for index, id_ in enumerate(text.ids):
        rows = [(ids[mask], exact(ids[mask][None]).logits[0, :-1]) for ids, mask in windows_of(text, index)]
        yield id_, exact, [(F.log_softmax(logits, dim=-1), ids[1:]) for ids, logits in rows]


def windows_of(text: EvaluationText, document: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rows = text.passages.document == document
    return zip(text.passages.ids[rows], text.passages.mask[rows], strict=True)


class TestAgainstFloat64:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_scores_of_documents(self, family: str, tiny_lm: Models) -> None:
        subject = on_text(tiny_lm(family))
        found = {name: value(name, subject).value_by_index for name in SIMPLE}
        for name in ("forget", "holdout"):
            for id_, _, windows in exact_windows(subject.lm, subject.test[name]):
                logs, truth = (torch.cat(parts).detach() for parts in zip(*windows, strict=True))
                own, logs = logs.gather(-1, truth[:, None])[:, 0].numpy(), logs.numpy()
                mean = (np.exp(logs) * logs).sum(-1)
                variance = (np.exp(logs) * logs**2).sum(-1) - mean**2
                fewest = int(0.4 * len(own))
                assert found["mia_loss"][id_] == {"score": pytest.approx(-own.mean(), rel=1e-5), "member": float(name == "forget")}
                assert found["mia_min_k"][id_]["score"] == pytest.approx(-np.sort(own)[:fewest].mean(), rel=1e-5)
                relative = np.sort((own - mean) / np.sqrt(variance))
                assert found["mia_min_k_plus_plus"][id_]["score"] == pytest.approx(-relative[:fewest].mean(), rel=1e-4)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_gradient_norms(self, family: str, tiny_lm: Models) -> None:
        subject = on_text(tiny_lm(family))
        found = value("mia_gradnorm", subject).value_by_index
        for id_, exact, windows in exact_windows(subject.lm, subject.test["holdout"]):
            logs, truth = (torch.cat(parts) for parts in zip(*windows, strict=True))
            exact.zero_grad()
            (-logs.gather(-1, truth[:, None]).mean()).backward()
            norms = [parameter.grad.norm() for parameter in exact.parameters() if parameter.grad is not None]
            assert found[id_]["score"] == pytest.approx(float(torch.stack(norms).mean()), rel=1e-4)

    def test_the_auc_is_of_the_scores_on_record(self, tiny_lm: Models) -> None:
        subject = on_text(tiny_lm())
        for name in ATTACKS:
            if (found := value(name, subject)).agg_value is not None and name != "mia_tpr":
                members, others = ([of["score"] for of in found.value_by_index.values() if of["member"] == side] for side in (1, 0))
                assert (len(members), len(others)) == (4, 5)
                wins = [(member < other) + 0.5 * (member == other) for member in members for other in others]
                assert found.agg_value == pytest.approx(np.mean(wins))


class TestTheModelIsLeftAlone:
    def test_gradient_norms_are_those_of_evaluation_mode(self, tiny_lm: Models) -> None:
        """OpenUnlearning takes them with dropout on, so that the same model has another value each time."""
        lm = tiny_lm("gpt2")  # has dropout
        quiet = value("mia_gradnorm", on_text(lm))
        lm.model.train()
        assert value("mia_gradnorm", on_text(lm)) == quiet
        assert lm.model.training

    def test_no_gradient_is_left_and_frozen_parameters_stay_frozen(self, tiny_lm: Models) -> None:
        lm = tiny_lm()
        expected = value("mia_gradnorm", on_text(lm))
        frozen = next(lm.model.parameters()).requires_grad_(False)
        assert value("mia_gradnorm", on_text(lm)) == expected
        assert not frozen.requires_grad
        assert all(parameter.grad is None for parameter in lm.model.parameters())


def reordered(text: EvaluationText) -> EvaluationText:
    """The same documents, the last first, and padded further."""
    passages = text.passages
    last = len(text.ids) - 1
    order = torch.cat([(passages.document == index).nonzero().flatten() for index in range(last, -1, -1)])
    wide = Passages(F.pad(passages.ids, (0, 3)), F.pad(passages.mask, (0, 3)), last - passages.document, passages.window)
    return EvaluationText(text.ids[::-1], replace(wide, ids=wide.ids[order], mask=wide.mask[order], document=wide.document[order]))


class TestNeitherOrderNorBatchesMatter:
    @staticmethod
    def same(found: MetricValue, expected: MetricValue) -> None:
        assert found.agg_value == pytest.approx(expected.agg_value)
        assert found.value_by_index.keys() == expected.value_by_index.keys()
        for id_, of in expected.value_by_index.items():
            assert found.value_by_index[id_] == pytest.approx(of, rel=1e-4)

    @pytest.mark.parametrize("name", [*ATTACKS, *BLIND])
    def test_order_and_padding(self, name: str, tiny_lm: Models) -> None:
        lm = tiny_lm()
        subject = on_text(lm)
        turned = {key: reordered(text) for key, text in subject.test.items()}
        self.same(value(name, on_text(lm, **turned)), value(name, subject))

    @pytest.mark.parametrize("name", ATTACKS)
    def test_batch_size(self, name: str, tiny_lm: Models, monkeypatch: pytest.MonkeyPatch) -> None:
        lm = tiny_lm()
        expected = value(name, on_text(lm))
        monkeypatch.setattr(measuring, "BATCH_TOKENS", 1)
        monkeypatch.setattr("benchmark.metrics.membership_gradient.BATCH_TOKENS", 1)
        self.same(value(name, on_text(lm)), expected)


class TestReference:
    def test_of_the_reference_itself_all_documents_tie(self, tiny_lm: Models) -> None:
        subject = on_text(tiny_lm())
        found = value("mia_reference", subject)
        assert found.agg_value == 0.5
        assert found.interval is not None
        assert sum(found.interval) == pytest.approx(1)
        assert {of["score"] for of in found.value_by_index.values()} == {0.0}

    def test_what_is_easy_for_both_models_is_no_member(self, tiny_lm: Models) -> None:
        subject = on_text(tiny_lm())
        measured = {name: text.model_copy(update={"nll": tuple(2 * nll for nll in text.nll)}) for name, text in subject.measured.items()}
        easier = {
            name: text.model_copy(update={"nll": tuple(nll - 0.1 * size for nll, size in zip(text.nll, text.tokens, strict=True))})
            for name, text in measured.items()
        }
        known = measured | {"forget": easier["forget"]}
        baseline = subject.baseline.model_copy(update={"reference_test": measured})
        assert value("mia_reference", replace(subject, baseline=baseline, known=known)).agg_value == 1
        assert value("mia_reference", replace(subject, baseline=baseline, known=easier)).agg_value == 0.5

    @pytest.mark.parametrize("kind", ["approximate", "none"])
    def test_an_inexact_one_is_none(self, kind: str, tiny_lm: Models) -> None:
        subject = on_text(tiny_lm())
        found = value("mia_reference", replace(subject, baseline=subject.baseline.model_copy(update={"reference_kind": kind})))
        assert (found.agg_value, found.reason) == (None, f"no reference model: the reference is {kind}")


@pytest.mark.parametrize("name", [*ATTACKS, *BLIND])
class TestWhereThereIsNoContrast:
    def test_a_domain(self, name: str, tiny_lm: Models) -> None:
        found = value(name, replace(on_text(tiny_lm()), removes="domain"))
        assert found.agg_value is None
        assert found.reason is not None
        assert "tell domains apart" in found.reason

    def test_no_holdout(self, name: str, tiny_lm: Models) -> None:
        subject = on_text(tiny_lm())
        alone = {"forget": subject.test["forget"]}
        found = value(name, replace(subject, validation=alone, test=alone))
        assert (found.agg_value, found.reason) == (None, "no holdout set to tell the forget set from")


class TestTruePositiveRateOfWindows:
    @staticmethod
    def subject(lm: LanguageModel, forget: list[float], holdout: list[float]) -> Subject:
        """Windows of 10 tokens, two a document, each of one surprise; and one short window that nobody knows."""
        sides = {"forget": [*forget, 0.0], "holdout": [*holdout, 0.0]}
        texts, found = {}, {}
        for name, surprises in sides.items():
            mask = torch.ones(len(surprises), 10, dtype=torch.bool)
            mask[-1, 4:] = False
            document = torch.arange(len(surprises)) // 2
            passages = Passages(torch.ones(mask.shape, dtype=torch.long), mask, document, torch.arange(len(surprises)))
            texts[name] = EvaluationText(tuple(f"{name}-{index}" for index in range(passages.documents)), passages)
            level = -torch.tensor(surprises)[:, None].expand(-1, 9)
            zero = torch.zeros(level.shape)
            found[name] = Predictions(mask[:, 1:], level, zero, zero + 1, zero.bool(), document)
        subject = replace(on_text(lm), test=texts)
        vars(subject).update(found)  # what it would have worked out
        return subject

    def test_by_hand(self, tiny_lm: Models) -> None:
        found = value("mia_tpr", self.subject(tiny_lm(), [9.0, 10.5, 11.0, 40.0], [float(score) for score in range(10, 30)]))
        assert found.agg_value == 0.5  # below 11; the short windows, which score 0, do not count
        assert found.value_by_index == {name: {"tpr": 0.5} for name in SIMPLE}
        assert found.interval is not None
        assert found.interval[0] < 0.5 < found.interval[1]

    def test_too_few_windows_resolve_no_five_percent(self, tiny_lm: Models) -> None:
        found = value("mia_tpr", self.subject(tiny_lm(), [9.0], [float(score) for score in range(19)]))
        assert (found.agg_value, found.reason) == (None, "19 holdout windows: 5% of them is less than one")


@pytest.fixture(scope="module")
def yardstick(tiny_lab: Path, tiny_corpus: Path) -> Yardstick:
    return yardstick_for("books", str(tiny_lab), 0, tiny_corpus, Protocol(), ON_CPU, (*ATTACKS, *BLIND))


class TestOnALab:
    def test_the_target_is_found_out_and_the_reference_less(self, yardstick: Yardstick) -> None:
        baseline = yardstick.evaluation.baseline
        for name in ("mia_loss", "mia_reference"):
            target, reference = (panel[name].agg_value for panel in (baseline.target_panel, baseline.reference_panel))
            assert target is not None
            assert reference is not None
            assert target > reference

    def test_the_gate_is_of_the_text_alone(self, yardstick: Yardstick) -> None:
        baseline = yardstick.evaluation.baseline
        assert set(baseline.text_panel) == set(BLIND)
        assert not set(BLIND) & set(baseline.target_panel)
        assert {name for name, found in baseline.text_panel.items() if found.agg_value is None} == set()

    def test_a_domain_task_says_why_there_is_none(self, tiny_lab: Path, tiny_corpus: Path) -> None:
        yardstick = yardstick_for("books-domain", str(tiny_lab), 0, tiny_corpus, Protocol(), ON_CPU, ("mia_loss", "blind_zlib"))
        baseline = yardstick.evaluation.baseline
        for found in (baseline.target_panel["mia_loss"], baseline.reference_panel["mia_loss"], baseline.text_panel["blind_zlib"]):
            assert found.agg_value is None
            assert "tell domains apart" in str(found.reason)
