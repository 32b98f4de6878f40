"""What holds for every robustness metric: the model is left as it was, and the value depends on nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from on_trial import subject_of
from test_relearning import forgetting
from torch.nn import functional as F

from benchmark import LanguageModel, registry
from benchmark.check.subjects import FAMILIES
from benchmark.measure import EvaluationText
from benchmark.panel.metric import Metric
from benchmark.passages import Passages

Models = Callable[..., LanguageModel]

ALL = [metric for metric in registry.metrics().values() if metric.axis == "robustness"]


def state(lm: LanguageModel) -> object:
    """All that a metric might leave behind, besides the weights."""
    modules = [
        (name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for name, module in lm.model.named_modules()
    ]
    return (
        modules,
        [(name, parameter.requires_grad, parameter.grad) for name, parameter in lm.model.named_parameters()],
        lm.plan.parts.copy(),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_left_as_it_was(tiny_lm: Models, family: str) -> None:
    lm = tiny_lm(family)
    lm.model.train()
    lm.model.get_input_embeddings().weight.requires_grad_(False)
    before, weights = state(lm), {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    subject = forgetting(lm, 0.1)
    for metric in ALL:
        assert metric.measure(subject).agg_value is not None, metric.name
        assert state(lm) == before, metric.name
        for name, tensor in lm.model.state_dict().items():
            assert torch.equal(tensor, weights[name]), (metric.name, name)
    assert len(ALL) == 10


def test_the_order_does_not_matter(tiny_lm: Models) -> None:
    found = []
    for order in (ALL, ALL[::-1]):
        subject = forgetting(tiny_lm(), 0.1)
        torch.manual_seed(len(found))
        found.append({metric.name: metric.measure(subject) for metric in order})
    assert found[0] == found[1]


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_padding_does_not_matter(metric: Metric, tiny_lm: Models) -> None:
    def wider(text: Passages) -> Passages:
        return dataclasses.replace(text, ids=F.pad(text.ids, (0, 7), value=3), mask=F.pad(text.mask, (0, 7)))

    def halves(half: dict[str, EvaluationText]) -> dict[str, EvaluationText]:
        return {name: dataclasses.replace(text, passages=wider(text.passages)) for name, text in half.items()}

    lm = tiny_lm()
    lm = dataclasses.replace(lm, context=20)  # so that there is room for padding
    subject = forgetting(lm, 0.1)
    assert subject.retain.longest == 20
    padded = dataclasses.replace(
        subject,
        validation=halves(dict(subject.validation)),
        test=halves(dict(subject.test)),
        retain=wider(subject.retain),
        general=wider(subject.general) if subject.general else None,
    )
    plain, found = metric.measure(subject), metric.measure(padded)
    assert found.agg_value == pytest.approx(plain.agg_value, abs=2e-3)


def test_the_cards(tiny_lm: Models) -> None:
    subject = subject_of(tiny_lm())
    for metric in ALL:
        value = metric.measure(subject).agg_value
        assert value is not None
        assert not metric.core
        if metric.low is not None and metric.high is not None:
            assert metric.low <= value <= metric.high
