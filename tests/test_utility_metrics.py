"""Utility metrics: against cases worked out by hand, and on a tiny lab against the measurement that the scores are made of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from benchmark import LanguageModel, registry
from benchmark.corpus import load_corpus
from benchmark.loading import ON_CPU
from benchmark.measure import EvaluationText, measure
from benchmark.metrics.damage_by_similarity import similarities
from benchmark.model import load_model
from benchmark.panel.subject import Subject
from benchmark.passages import Passages
from benchmark.record import Baseline, Documents, Measurement, Protocol
from benchmark.splits import split
from benchmark.yardstick import Yardstick, yardstick_for

ALL = tuple(name for name, metric in registry.metrics().items() if metric.axis == "utility")


def documents(**nll_and_tokens: tuple[float, int]) -> Documents:
    """By id: summed NLL and tokens; half of the tokens are hits."""
    return Documents(
        ids=tuple(nll_and_tokens),
        nll=tuple(nll for nll, _ in nll_and_tokens.values()),
        correct=tuple(tokens // 2 for _, tokens in nll_and_tokens.values()),
        tokens=tuple(tokens for _, tokens in nll_and_tokens.values()),
    )


def text(**windows: list[int]) -> EvaluationText:
    """By id: the tokens of a document of one window."""
    length = max(map(len, windows.values()))
    ids = torch.tensor([window + [0] * (length - len(window)) for window in windows.values()])
    mask = torch.tensor([[index < len(window) for index in range(length)] for window in windows.values()])
    order = torch.arange(len(windows))
    return EvaluationText(tuple(windows), Passages(ids, mask, order, order))


def subject(
    measured: Measurement,
    target: Measurement,
    reference: Measurement,
    texts: dict[str, EvaluationText] | None = None,
    domains: dict[str, str] | None = None,
) -> Subject:
    """A model of which no more is known than its measurement."""
    baseline = Baseline(
        reference_kind="exact" if reference else "none",
        target_validation=target,
        target_test=target,
        reference_validation=reference,
        reference_test=reference,
        noise_floor=None,
    )
    nothing = cast("Any", None)
    return Subject(nothing, texts or {}, texts or {}, nothing, None, baseline, domains or {}, measured)


def value(name: str, of: Subject) -> Any:
    return registry.metric(name).measure(of)


class TestPerplexityAndTop1:
    def test_count_every_token_alike(self) -> None:
        measured = {"retain": documents(a=(1.0, 2), b=(8.0, 4))}
        found = value("retain_perplexity", subject(measured, measured, {}))
        assert found.agg_value == pytest.approx(math.exp(9 / 6))
        assert found.value_by_index == {"a": {"score": pytest.approx(math.exp(0.5))}, "b": {"score": pytest.approx(math.exp(2.0))}}
        assert found.interval == (pytest.approx(math.exp(0.5)), pytest.approx(math.exp(2.0)))

    def test_of_a_set_that_the_task_lacks_there_is_none(self) -> None:
        measured = {"retain": documents(a=(1.0, 2), b=(8.0, 4))}
        for name in ("general_perplexity", "general_top1"):
            found = value(name, subject(measured, measured, {}))
            assert found.agg_value is None
            assert found.reason == "the task has no general set"

    def test_of_a_wrecked_model_is_a_number(self) -> None:
        measured = {"retain": documents(a=(1e6, 2), b=(1e6, 2))}
        assert math.isfinite(value("retain_perplexity", subject(measured, measured, {})).agg_value)


TARGET: Measurement = {"retain": documents(a=(4.0, 4), b=(12.0, 4)), "general": documents(c=(8.0, 8), d=(8.0, 8))}
DOMAINS = {"a": "books", "b": "books", "c": "github", "d": "arxiv"}


class TestDamageByDomain:
    def test_is_the_rise_over_the_worse_of_target_and_reference_by_domain(self) -> None:
        # books: 18 nats over 8 tokens, target 16, reference 17; github: 9 over 8, target 8, reference 7; arxiv: unchanged
        measured = {"retain": documents(a=(5.0, 4), b=(13.0, 4)), "general": documents(c=(9.0, 8), d=(8.0, 8))}
        reference = {"retain": documents(a=(4.0, 4), b=(13.0, 4)), "general": documents(c=(7.0, 8), d=(8.0, 8))}
        found = value("damage_by_domain", subject(measured, TARGET, reference, domains=DOMAINS))
        rises = {domain: of["perplexity_rise"] for domain, of in found.value_by_index.items()}
        assert rises == {"arxiv": 0.0, "books": pytest.approx(math.expm1(1 / 8)), "github": pytest.approx(math.expm1(1 / 8))}
        assert found.agg_value == max(rises.values())
        assert {domain: of["documents"] for domain, of in found.value_by_index.items()} == {"arxiv": 1, "books": 2, "github": 1}

    def test_without_a_reference_is_over_the_target(self) -> None:
        measured = {"retain": documents(a=(5.0, 4), b=(13.0, 4)), "general": documents(c=(9.0, 8), d=(8.0, 8))}
        found = value("damage_by_domain", subject(measured, TARGET, {}, domains=DOMAINS))
        assert found.value_by_index["books"]["perplexity_rise"] == pytest.approx(math.expm1(2 / 8))

    def test_of_the_worse_of_target_and_reference_is_never_above_zero(self) -> None:
        reference = {"retain": documents(a=(4.0, 4), b=(13.0, 4)), "general": documents(c=(7.0, 8), d=(8.0, 8))}
        for model in (TARGET, reference):
            assert value("damage_by_domain", subject(model, TARGET, reference, domains=DOMAINS)).agg_value <= 0


class TestDamageBySimilarity:
    FORGET = text(f=[1, 2, 3, 4, 5], g=[9, 9, 9, 9, 9])

    def test_similarity_is_the_share_of_distinct_runs_of_three(self) -> None:
        kept = text(a=[1, 2, 3, 4], b=[0, 1, 2, 3, 7, 0, 1, 2, 3], c=[5, 4, 3, 2, 1], d=[7, 7])
        measured = {"retain": documents(a=(1, 3), b=(1, 8), c=(1, 4), d=(1, 1))}
        found = similarities(subject(measured, measured, {}, {"forget": self.FORGET, "retain": kept}))
        # b's distinct runs: 012, 123, 237, 370, 701; padding is no token
        assert found == {"a": 1.0, "b": pytest.approx(1 / 5), "c": 0.0, "d": 0.0}

    def test_value_is_the_rise_of_the_nearest_third(self) -> None:
        kept = text(far=[6] * 4, off=[7] * 4, some=[1, 2, 3, 7], half=[1, 2, 3, 6], near=[1, 2, 3, 4], same=[2, 3, 4, 5])
        target = {"retain": documents(**dict.fromkeys(kept.ids, (4.0, 4)))}
        hurt = {"far": 5.0, "off": 5.0, "some": 4.0, "half": 4.0, "near": 6.0, "same": 8.0}
        measured = {"retain": documents(**{name: (nll, 4) for name, nll in hurt.items()})}
        found = value("damage_by_similarity", subject(measured, target, {}, {"forget": self.FORGET, "retain": kept}))
        rises = {name: of["perplexity_rise"] for name, of in found.value_by_index.items()}
        assert rises == {"far": pytest.approx(math.expm1(2 / 8)), "middle": 0.0, "near": pytest.approx(math.expm1(6 / 8))}
        assert {name: of["similarity"] for name, of in found.value_by_index.items()} == {"far": 0.0, "middle": 0.5, "near": 1.0}
        assert found.agg_value == rises["near"]

    def test_too_few_documents_for_thirds_are_said_to_be(self) -> None:
        kept = text(a=[1, 2, 3, 4], b=[1, 2, 3, 4])
        measured = {"retain": documents(a=(1, 3), b=(1, 3))}
        found = value("damage_by_similarity", subject(measured, measured, {}, {"forget": self.FORGET, "retain": kept}))
        assert (found.agg_value, found.reason) == (None, "2 kept documents; 6 are needed for thirds")


@pytest.fixture(scope="module")
def yardstick(tiny_lab: Path, tiny_corpus: Path) -> Yardstick:
    return yardstick_for("books", str(tiny_lab), 0, tiny_corpus, Protocol(), ON_CPU, ALL)


def other_order(text: EvaluationText) -> EvaluationText:
    """The same windows, the last first, and padded further."""
    passages = text.passages
    back = torch.arange(len(passages)).flip(0)
    wide = torch.nn.functional.pad
    return EvaluationText(
        text.ids, Passages(wide(passages.ids, (0, 3))[back], wide(passages.mask, (0, 3))[back], passages.document[back], passages.window)
    )


class TestOnALab:
    def test_every_kept_document_has_the_domain_that_it_is_from(self, tiny_corpus: Path) -> None:
        for task in registry.tasks().values():
            splits = split(task, load_corpus(tiny_corpus))
            for halves in splits.evaluation.values():
                assert all(splits.domains[document.id] == document.id.rsplit("-", 1)[0] for document in (*halves.validation, *halves.test))

    def test_what_was_measured_before_is_what_would_be_measured(self, yardstick: Yardstick) -> None:
        lm = load_model(yardstick.target)
        assert yardstick.subject(lm).measured == measure(lm, yardstick.evaluation.test) == yardstick.evaluation.baseline.target_test

    def test_all_have_values_of_target_and_reference(self, yardstick: Yardstick) -> None:
        baseline = yardstick.evaluation.baseline
        for panel in (baseline.target_panel, baseline.reference_panel):
            assert {name: value.reason for name, value in panel.items()} == dict.fromkeys(ALL)

    def test_neither_order_nor_padding_matters(self, yardstick: Yardstick) -> None:
        lm: LanguageModel = load_model(yardstick.target)
        evaluation = yardstick.evaluation
        halves = [{name: other_order(text) for name, text in half.items()} for half in (evaluation.validation, evaluation.test)]
        turned = Subject(lm, *halves, yardstick.texts[1], None, evaluation.baseline, yardstick.domains)
        for name, before in yardstick.panel(lm).items():
            assert value(name, turned).agg_value == pytest.approx(before.agg_value, abs=1e-6)
