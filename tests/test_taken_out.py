"""What comes out of a model when the modules that a method put into it are taken out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from on_trial import subject_of
from torch import Tensor, nn

from benchmark import LanguageModel, lora, registry
from benchmark.measure import measure

Models = Callable[..., LanguageModel]


class Louder(nn.Module):
    """What the output embedding says, times three."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("by", torch.tensor(3.0))

    def forward(self, module: nn.Module, given: object, output: Tensor) -> Tensor:
        """As a hook of the output embedding."""
        return output * self.by  # type: ignore[operator]


def test_the_fall_is_that_of_the_weights_by_themselves(tiny_lm: Models) -> None:
    bare, lm = tiny_lm(), tiny_lm()
    with torch.no_grad():
        weight = bare.model.get_input_embeddings().weight
        moved = weight + 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        for model in (bare.model, lm.model):
            model.get_input_embeddings().weight.copy_(moved)
    louder = Louder()
    lm.model.add_module("louder", louder)
    lm.model.get_output_embeddings().register_forward_hook(louder)
    subject = dataclasses.replace(subject_of(lm), untouched=tiny_lm)
    before, after = (measure(each, subject.test)["forget"] for each in (lm, bare))
    found = registry.metric("taken_out").measure(subject)
    falls = [(high - low) / tokens for high, low, tokens in zip(before.nll, after.nll, before.tokens, strict=True)]
    assert found.agg_value == pytest.approx(sum(falls) / len(falls))
    assert found.agg_value != 0
    assert "louder.by" in lm.model.state_dict()


def test_where_nothing_was_put_in_nothing_comes_out(tiny_lm: Models) -> None:
    lm = tiny_lm()
    with torch.no_grad():
        lm.model.get_input_embeddings().weight += 0.1
    found = registry.metric("taken_out").measure(dataclasses.replace(subject_of(lm), untouched=tiny_lm))
    assert (found.agg_value, found.interval) == (0.0, (0.0, 0.0))


def test_adapters_are_weights(tiny_lm: Models) -> None:
    lm = tiny_lm()
    lora.attach(lm.model, 2, 0)
    for name, parameter in lm.model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.1)
    assert registry.metric("taken_out").measure(dataclasses.replace(subject_of(lm), untouched=tiny_lm)).agg_value == 0.0
