"""What a model is judged against: exact, approximate or no reference; the target scores 0 and the reference 1 by measurement."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from conftest import documents

from benchmark import LanguageModel
from benchmark.corpus import Document
from benchmark.evaluation import Evaluation, evaluate_baseline
from benchmark.measure import Diverged, divergence
from benchmark.record import Protocol
from benchmark.splits import Halves, Splits

Models = Callable[..., LanguageModel]


def halves(given: Sequence[Document]) -> Halves:
    return Halves(tuple(given[0::2]), tuple(given[1::2]))


@pytest.fixture
def splits() -> Splits:
    forget, retain, general = (tuple(documents(topic, 8, seed=1)) for topic in ("forget", "retain", "general"))
    evaluation = {
        "forget": forget,
        "retain": documents("retain", 8, 2),
        "holdout": documents("forget", 8, 2),
        "general": documents("general", 8, 2),
    }
    return Splits(
        forget=forget,
        retain=retain,
        general=general,
        evaluation={name: halves(given) for name, given in evaluation.items()},
        trained=forget + retain + general,
        reference=retain + general,
    )


@pytest.fixture
def target(tiny_lm: Models, splits: Splits) -> LanguageModel:
    """A model that knows the forget set by heart, more or less."""
    lm = tiny_lm()
    text = lm.passages(splits.forget)
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=1e-2)
    for _ in range(10):
        output = lm.model(input_ids=text.ids, labels=text.ids.masked_fill(~text.mask, -100))
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return lm


def evaluated(
    target: LanguageModel, reference: LanguageModel | None, splits: Splits, removes: Any = "documents", **protocol: Any
) -> Evaluation:
    return evaluate_baseline(target, reference, splits, removes, Protocol(**protocol), noise_floor=None)


def test_the_target_scores_0_and_the_reference_1_by_measurement(target: LanguageModel, tiny_lm: Models, splits: Splits) -> None:
    reference = tiny_lm()
    evaluation = evaluated(target, reference, splits)
    assert evaluation.baseline.reference_kind == "exact"
    assert evaluation.scored
    judged = evaluation.judge(target)
    assert (judged.score, judged.damage, judged.difference) == (0.0, 0.0, 0.0)
    judged = evaluation.judge(reference)
    assert (judged.score, judged.damage) == (1.0, 0.0)
    # ... though one of the two is worse than the other on kept text
    assert evaluation.baseline.target_validation["retain"].mean_nll != evaluation.baseline.reference_validation["retain"].mean_nll


def test_judging_is_on_the_validation_half(target: LanguageModel, tiny_lm: Models, splits: Splits) -> None:
    evaluation = evaluated(target, tiny_lm(), splits)
    validation, test = evaluation.baseline.target_validation, evaluation.baseline.target_test
    for name, both in splits.evaluation.items():
        assert validation[name].ids == tuple(document.id for document in both.validation)
        assert test[name].ids == tuple(document.id for document in both.test)
    judged = evaluation.judge(target)
    names = ("forget", "retain", "general")  # what choosing looks at
    assert judged.nll == {name: validation[name].mean_nll for name in names}
    assert judged.top1 == {name: validation[name].top1 for name in names}


def test_without_a_reference_model_the_holdout_stands_in(target: LanguageModel, splits: Splits) -> None:
    baseline = evaluated(target, None, splits).baseline
    assert baseline.reference_kind == "approximate"
    assert baseline.reference_validation == {"forget": baseline.target_validation["holdout"]}
    assert baseline.reference_test == {"forget": baseline.target_test["holdout"]}


def test_nothing_stands_in_where_a_domain_must_go(target: LanguageModel, splits: Splits) -> None:
    evaluation = evaluated(target, None, splits, "domain")
    assert evaluation.baseline.reference_kind == "none"
    assert evaluation.baseline.reference_test == evaluation.baseline.reference_validation == {}
    assert not evaluation.scored
    judged = evaluation.judge(target)
    assert (judged.score, judged.damage, judged.difference) == (None, 0.0, 0.0)


def test_where_the_reference_is_the_target_there_is_no_score(target: LanguageModel, splits: Splits) -> None:
    evaluation = evaluated(target, target, splits)
    assert not evaluation.scored
    assert evaluation.judge(target).score is None


def test_damage_is_the_relative_rise_of_perplexity(target: LanguageModel, tiny_lm: Models, splits: Splits) -> None:
    evaluation = evaluated(target, None, splits)
    damaged = LanguageModel(copy.deepcopy(target.model), target.tokenizer, target.folder, target.context)
    with torch.no_grad():
        damaged.model.lm_head.weight.mul_(2)
    judged = evaluation.judge(damaged)
    before = evaluation.baseline.target_validation
    rises = [judged.nll[name] - before[name].mean_nll for name in ("retain", "general")]
    assert max(rises) > 0
    assert judged.damage == pytest.approx(torch.tensor(max(rises), dtype=torch.float64).expm1().item())


def test_limits_of_documents_and_tokens(target: LanguageModel, splits: Splits) -> None:
    evaluation = evaluated(target, None, splits, limit=3)
    assert {len(measured.ids) for measured in evaluation.baseline.target_test.values()} == {3}
    evaluation = evaluated(target, None, splits, validation_tokens=100, test_tokens=10**6)
    for name, both in splits.evaluation.items():
        count = len(evaluation.baseline.target_validation[name].ids)
        lengths = [len(target.tokenizer(document.text)["input_ids"]) for document in both.validation]
        assert count == 2 or sum(lengths[:count]) <= 100
        assert count == len(lengths) or sum(lengths[: count + 1]) > 100
        assert len(evaluation.baseline.target_test[name].ids) == 4
        assert evaluation.validation[name].passages.documents == count


def test_a_set_that_the_data_cannot_give_is_absent(target: LanguageModel, splits: Splits) -> None:
    evaluation = dict(splits.evaluation)
    del evaluation["general"]
    without = Splits(splits.forget, splits.retain, (), evaluation, splits.trained, splits.reference)
    assert set(evaluated(target, None, without).baseline.target_test) == {"forget", "retain", "holdout"}


def test_a_model_that_is_not_finite_has_diverged(target: LanguageModel, splits: Splits) -> None:
    evaluation = evaluated(target, None, splits)
    with torch.no_grad():
        target.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(Diverged):
        evaluation.judge(target)


def test_distances_are_to_the_reference_on_the_test_half(target: LanguageModel, tiny_lm: Models, splits: Splits) -> None:
    reference = tiny_lm()
    evaluation = evaluated(target, reference, splits)
    distances = evaluation.distances(target, reference)
    assert distances == {"forget": divergence(target, reference, evaluation.test["forget"])}
    assert all(0 < distance < 1 for distance in distances.values())
    assert all(distance < 1e-6 for distance in evaluation.distances(reference, reference).values())
