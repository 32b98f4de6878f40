"""Logit lens and linear probe: against the model's own output, against numpy's least squares, and on a model that hides its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from conftest import CONFIGS, LAYERS
from on_trial import subject_of
from torch import nn
from transformers import OPTConfig, OPTForCausalLM

from benchmark import LanguageModel, registry
from benchmark.architecture import insert, layers_of, readout
from benchmark.losses import cross_entropy
from benchmark.metrics.linear_probe import Moments, _leading
from benchmark.metrics.logit_lens import LOGIT_LENS
from benchmark.panel.residual import best_layer, predicted_tokens, residual_streams
from benchmark.training import descend

Models = Callable[..., LanguageModel]


class TestResidualStreams:
    @pytest.mark.parametrize("family", CONFIGS)
    def test_are_those_behind_each_layer(self, tiny_lm: Models, family: str) -> None:
        lm = tiny_lm(family)
        batch = subject_of(lm).retain
        with torch.no_grad():
            streams = residual_streams(lm, batch)
            assert len(streams) == LAYERS
            for layer, stream in enumerate(streams):
                assert torch.equal(stream, lm.hidden(batch, layer))
            assert torch.allclose(readout(lm.model)(streams[-1]), lm.logits(batch), atol=1e-4)

    def test_are_behind_what_is_inserted(self, tiny_lm: Models) -> None:
        lm = tiny_lm()
        batch = subject_of(lm).retain
        with torch.no_grad():
            (before, _) = residual_streams(lm, batch)
            insert(layers_of(lm.model)[0], nn.Hardtanh(-0.01, 0.01))
            (after, last) = residual_streams(lm, batch)
            assert torch.equal(after, before.clamp(-0.01, 0.01))
            assert torch.allclose(readout(lm.model)(last), lm.logits(batch), atol=1e-4)

    def test_of_predicted_tokens_alone_and_whose_they_are(self, tiny_lm: Models) -> None:
        lm = tiny_lm()
        text = subject_of(lm).retain
        found = list(predicted_tokens(lm, text))
        assert sum(len(tokens.ids) for tokens in found) == text.predicted
        expected = {}
        for row in range(len(text)):
            (stream, _) = residual_streams(lm, text.take(torch.tensor([row])))
            for position in range(int(text.mask[row].sum()) - 1):
                key = (int(text.document[row]), int(text.ids[row, position + 1]), round(float(stream[0, position, 0].detach()), 3))
                expected[key] = expected.get(key, 0) + 1
        got: dict[tuple[int, int, float], int] = {}
        for tokens in found:
            for document, token, value in zip(tokens.document, tokens.ids, tokens.streams[0][:, 0], strict=True):
                key = (int(document), int(token), round(float(value), 3))
                got[key] = got.get(key, 0) + 1
        assert got == expected


def test_an_architecture_that_predicts_in_another_way_is_refused() -> None:
    small = OPTConfig(hidden_size=16, ffn_dim=24, num_hidden_layers=1, num_attention_heads=4, vocab_size=50, word_embed_proj_dim=8)
    with pytest.raises(ValueError, match="more than a norm"):
        readout(OPTForCausalLM(small))
    small.do_layer_norm_before = False
    with pytest.raises(ValueError, match=r"no norm at model\.decoder\.final_layer_norm"):
        readout(OPTForCausalLM(small))


def test_the_best_layer_is_told() -> None:
    top1 = torch.tensor([[0.1, 0.3], [0.5, 0.3], [0.2, 0.2]], dtype=torch.float64)
    found = best_layer(("a", "b"), {"top1": top1, "nll": 1 - top1})
    assert found.agg_value == pytest.approx(0.4)
    assert found.interval == pytest.approx((0.3, 0.5))
    assert found.value_by_index == {
        f"layer {layer}": {"top1": pytest.approx(share), "nll": pytest.approx(1 - share)} for layer, share in enumerate((0.2, 0.4, 0.2))
    }


@pytest.mark.parametrize("family", CONFIGS)
def test_the_lens_of_the_last_layer_is_the_models_own_output(tiny_lm: Models, family: str) -> None:
    subject = subject_of(tiny_lm(family))
    found = LOGIT_LENS.measure(subject)
    own = subject.measured["forget"]
    nll = sum(nll / tokens for nll, tokens in zip(own.nll, own.tokens, strict=True)) / len(own.ids)
    top1 = sum(correct / tokens for correct, tokens in zip(own.correct, own.tokens, strict=True)) / len(own.ids)
    assert list(found.value_by_index) == [f"layer {layer}" for layer in range(LAYERS)]
    assert found.value_by_index[f"layer {LAYERS - 1}"] == {"top1": pytest.approx(top1), "nll": pytest.approx(nll, rel=1e-4)}


class TestProbe:
    def fitted(self, ridge: float, x: torch.Tensor, y: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """What `Probe.scores` has to give, from numpy's least squares: the ridge is rows below the features."""
        features, classes = x.double().numpy(), np.eye(5)[y.numpy()]
        spread = features.std(axis=0)
        scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
        rows = np.sqrt(ridge * len(x)) * np.eye(x.shape[1])
        below = np.zeros((x.shape[1], 5))
        weight = np.linalg.lstsq(np.vstack([scaled, rows]), np.vstack([classes - classes.mean(axis=0), below]), rcond=None)[0]
        return weight, scaled @ weight + classes.mean(axis=0)

    @pytest.mark.parametrize("ridge", [0.01, 1.0])
    def test_is_numpys_least_squares(self, ridge: float) -> None:
        generator = torch.Generator().manual_seed(0)
        x = 3 * torch.randn(200, 7, generator=generator) @ torch.randn(7, 7, generator=generator) + 50
        x[:, 2] = 4.0  # a feature that never varies
        y = torch.randint(5, (200,), generator=generator)
        moments = Moments(7, 5, torch.device("cpu"))
        for piece in (slice(0, 10), slice(10, 200)):
            moments.add(x[piece], y[piece])
        probe = moments.probe(ridge)
        weight, scores = self.fitted(ridge, x, y)
        assert np.allclose(probe.weight.numpy(), weight, atol=1e-6)
        assert np.allclose(probe.scores(x).numpy(), scores, atol=1e-6)

    def test_gives_no_token_that_it_was_not_trained_on(self, tiny_lm: Models) -> None:
        subject = subject_of(tiny_lm())
        text = subject.test["forget"].passages
        token = int(text.ids[0, 3])
        only = dataclasses.replace(text, ids=torch.full_like(text.ids, token))
        blind = dataclasses.replace(subject, retain=only, validation={"forget": dataclasses.replace(subject.test["forget"], passages=only)})
        there = (text.ids[:, 1:] == token) & text.mask[:, 1:]
        shares = [float(there[text.document == index].sum() / text.mask[text.document == index, 1:].sum()) for index in range(6)]
        found = registry.metric("linear_probe").measure(blind)
        assert found.value_by_index["layer 0"] == {"top1": pytest.approx(sum(shares) / 6)}
        assert 0 < (found.agg_value or 0) < (registry.metric("linear_probe").measure(subject).agg_value or 0)

    def test_the_leading_windows_that_fit(self, tiny_lm: Models) -> None:
        text = subject_of(tiny_lm()).retain
        lengths = text.mask.sum(dim=1).tolist()
        assert len(_leading(text, sum(lengths[:3]))) == 3
        assert len(_leading(text, sum(lengths[:3]) - 1)) == 2
        assert len(_leading(text, 1)) == 1


@pytest.fixture(scope="module")
def taught(tiny_lm: Models) -> LanguageModel:
    """A model that has learnt the text that it is tried on."""
    lm = tiny_lm()
    text = subject_of(lm).test["forget"].passages
    for _ in descend(lm, partial(cross_entropy, lm), (text,), lr=1e-2, steps=40, batch=6, seed=0):
        pass
    return lm


def test_a_model_whose_output_alone_is_spoilt_is_found_out(taught: LanguageModel) -> None:
    # a last layer that adds nothing, so that what there is to be known is known before it
    for part in (taught.architecture.feed_forward, taught.architecture.attention):
        part[-1].outgoing.zero_()
        assert part[-1].module.bias is not None
        part[-1].module.bias.data.zero_()
    hides = taught.copy()
    hides.architecture.feed_forward[-1].module.bias.data.normal_(std=100.0, generator=torch.Generator().manual_seed(0))
    honest, cheat = subject_of(taught), subject_of(hides)
    for name in ("logit_lens", "linear_probe"):
        known, found = registry.metric(name).measure(honest), registry.metric(name).measure(cheat)
        assert found.value_by_index["layer 0"] == known.value_by_index["layer 0"]
        assert found.agg_value == known.agg_value, name
    shown = [subject.measured["forget"].top1 for subject in (honest, cheat)]
    assert shown[1] < 0.1 < shown[0] - 0.1
