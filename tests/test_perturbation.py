"""Perturbed weights: rounding, pruning and noise by hand, and a model that hides the text below a rounding step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from conftest import CONFIGS
from hypothesis import given
from hypothesis import strategies as st
from on_trial import subject_of
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from benchmark import LanguageModel, lora, registry
from benchmark.architecture import linear_layers
from benchmark.losses import cross_entropy
from benchmark.measure import measure
from benchmark.metrics.perturbation import GROUP, noised, perturb, pruned, quantised

Models = Callable[..., LanguageModel]


class TestQuantised:
    def test_by_hand(self) -> None:
        weight = torch.tensor([[7.0, -3.4, 0.0, 1.6], [0.0, 0.0, 0.0, 0.0], [-0.7, 0.26, 0.24, 0.1]])
        rounded = torch.tensor([[7.0, -3.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-0.7, 0.3, 0.2, 0.1]])
        assert torch.allclose(quantised(weight, 4), rounded, atol=1e-6)

    def test_groups_have_scales_of_their_own_and_the_last_is_what_is_left(self) -> None:
        weight = torch.tensor([[7.0, -3.4, 0.7, 0.34, 0.04]])
        assert torch.allclose(quantised(weight, 4, 2), torch.tensor([[7.0, -3.0, 0.7, 0.3, 0.04]]), atol=1e-6)

    @given(st.integers(0, 99), st.sampled_from([4, 8]), st.integers(1, 70), st.sampled_from([None, 3, 64]))
    def test_is_at_most_half_a_step_off_and_rounding_again_changes_nothing(
        self, seed: int, bits: int, inputs: int, group: int | None
    ) -> None:
        weight = torch.randn(3, inputs, generator=torch.Generator().manual_seed(seed))
        rounded = quantised(weight, bits, group)
        largest = weight.abs().amax(dim=1, keepdim=True)
        assert bool(((rounded - weight).abs() <= largest / (2**bits - 2) * (1 + 1e-5)).all())
        assert len(rounded[:, : group or inputs].unique()) <= 3 * (2**bits - 1)
        assert torch.allclose(quantised(rounded, bits, group), rounded, atol=1e-6)


class TestPruned:
    def test_by_hand(self) -> None:
        weight = torch.tensor([[0.1, -0.2, 3.0], [-0.3, 4.0, 5.0]])
        assert pruned(weight, 0.4).tolist() == torch.tensor([[0.0, 0.0, 3.0], [-0.3, 4.0, 5.0]]).tolist()
        assert torch.equal(pruned(weight, 0.1), weight)

    def test_as_small_ones_go_too(self) -> None:
        assert pruned(torch.tensor([[1.0, -1.0, 2.0, 3.0]]), 0.25).tolist() == [[0.0, 0.0, 2.0, 3.0]]


def test_noise_is_as_large_as_said_and_leaves_zeros() -> None:
    weight = torch.full((200, 300), -3.0)
    noise = noised(weight, 0.1, torch.Generator().manual_seed(0)) - weight
    assert float(noise.std()) == pytest.approx(0.3, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.01)
    assert not noised(torch.zeros(3, 4), 0.1, torch.Generator()).any()


@pytest.mark.parametrize("family", CONFIGS)
def test_linear_layers_are_changed_as_outputs_by_inputs_and_nothing_else(tiny_lm: Models, family: str) -> None:
    lm = tiny_lm(family)
    before = {name: parameter.detach().clone() for name, parameter in lm.model.named_parameters()}
    linear = {name for name, module in lm.model.named_modules() if isinstance(module, nn.Linear | Conv1D)} - {"lm_head", "embed_out"}
    shapes = [
        (module.nf, module.weight.shape[0]) if isinstance(module, Conv1D) else (module.out_features, module.in_features)
        for name, module in lm.model.named_modules()
        if name in linear
    ]
    seen = []

    def doubled(weight: Tensor) -> Tensor:
        seen.append(tuple(weight.shape))
        return 2 * weight

    perturb(lm, doubled)
    assert seen == shapes
    assert len(seen) >= 8
    for name, parameter in lm.model.named_parameters():
        factor = 2 if name.removesuffix(".weight") in linear else 1
        assert torch.equal(parameter, factor * before[name]), name


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2"])
def test_adapters_are_part_of_the_weights(tiny_lm: Models, family: str) -> None:
    lm = tiny_lm(family)
    text = subject_of(lm).retain
    lora.attach(lm.model, 2, 0)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in lm.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(generator=generator)
    with torch.no_grad():
        adapted = lm.logits(text)
        perturb(lm, lambda weight: weight)
        assert torch.allclose(lm.logits(text), adapted, atol=1e-4)
        with lora.switched_off(lm.model):
            assert torch.allclose(lm.logits(text), adapted, atol=1e-4)


def test_a_model_that_hides_below_a_rounding_step_is_found_by_rounding(tiny_lm: Models) -> None:
    knows = tiny_lm()
    perturb(knows, lambda weight: quantised(weight, 4, GROUP))
    hides = knows.copy()
    text = subject_of(knows).test["forget"].passages
    cross_entropy(hides, text).backward()
    with torch.no_grad():
        for layer in linear_layers(hides.model):
            weight, gradient = layer.weight, layer.weight.grad
            assert weight.shape[1] <= GROUP
            assert gradient is not None
            largest = weight.abs().amax(dim=1, keepdim=True)
            weight += torch.where(weight.abs() < largest, 0.45 * largest / 7 * gradient.sign(), 0.0)
    hides.model.zero_grad()
    subject = subject_of(hides, target=knows)
    before, after = (measure(lm, subject.test)["forget"] for lm in (hides, knows))
    found = registry.metric("quantised_int4").measure(subject)
    expected = [(high - low) / tokens for high, low, tokens in zip(before.nll, after.nll, before.tokens, strict=True)]
    assert found.agg_value == pytest.approx(sum(expected) / len(expected), abs=1e-4)
    assert found.agg_value > 0.5
    assert list(found.value_by_index) == list(before.ids)
    assert abs(registry.metric("quantised_int4").measure(subject_of(knows)).agg_value or 0.0) < 1e-4
    assert abs(registry.metric("quantised_int8").measure(subject).agg_value or 0.0) < 0.1
