from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import CONFIGS, HEADS, LAYERS, NEURONS
from transformers import BloomConfig, BloomForCausalLM

from benchmark import LanguageModel, Unsupported, neurons_of, registry, selectivity
from methods.head_pruning import HeadPruning
from methods.magnitude_pruning import MagnitudePruning
from methods.random_pruning import RandomPruning
from methods.selective_pruning import SelectivePruning

ALL = [SelectivePruning, RandomPruning, MagnitudePruning, HeadPruning]
BY_NEURON = [SelectivePruning, RandomPruning, MagnitudePruning]


def pruned(lm, part="feed-forward"):
    """(layers, neurons) mask of neurons whose outgoing weights are all zero."""
    return torch.stack([(p.outgoing == 0).all(dim=1) for p in lm.architecture.projections(part)])


def trajectory(method, lm, request, part="feed-forward", steps=None):
    masks = []
    for step, _ in enumerate(method.unlearn(lm, request), start=1):
        masks.append(pruned(lm, part))
        assert step < 100, "it does not end"
        if step == steps:
            break
    return masks


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("cls", BY_NEURON)
@pytest.mark.parametrize("part", ["feed-forward", "attention"])
def test_every_step_prunes_exactly_its_slice(tiny_lm, request_for, cls, family, part):
    lm = tiny_lm(family)
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    total = pruned(lm, part).numel()
    masks = trajectory(cls(where=part, step=0.2), lm, request_for(lm), part)
    slice_size = LAYERS * max(1, round(0.2 * total / LAYERS)) if cls is RandomPruning else round(0.2 * total)
    assert [int(mask.sum()) for mask in masks] == [min(slice_size * (i + 1), total) for i in range(len(masks))]
    assert masks[-1].all()
    for earlier, later in itertools.pairwise(masks):
        assert (later | ~earlier).all()  # what is pruned stays so
    changed = {name for name, tensor in lm.model.state_dict().items() if not torch.equal(tensor, before[name])}
    projections = {id(p.module) for p in lm.architecture.projections(part)}
    assert changed == {f"{name}.weight" for name, module in lm.model.named_modules() if id(module) in projections}


@pytest.mark.parametrize("cls", BY_NEURON)
def test_both_parts_are_pruned_side_by_side(tiny_lm, request_for, cls):
    lm = tiny_lm("gpt2")
    for _ in zip(range(3), cls(where="both", step=0.1).unlearn(lm, request_for(lm)), strict=False):
        pass
    per_layer = cls is RandomPruning
    for part, width in (("feed-forward", NEURONS), ("attention", 16)):
        slice_size = LAYERS * round(0.1 * width) if per_layer else round(0.1 * LAYERS * width)
        assert pruned(lm, part).sum() == 3 * slice_size


@pytest.mark.parametrize("cls", [SelectivePruning, HeadPruning])
def test_ties_at_zero_never_pick_a_pruned_neuron(tiny_lm, request_for, cls):
    """Neurons that never fire score 0 alike, on every text."""
    lm = tiny_lm("opt")
    part = "attention" if cls is HeadPruning else "feed-forward"
    with torch.no_grad():
        for layer in lm.model.model.decoder.layers:
            for module in (layer.fc1, layer.self_attn.v_proj):
                module.weight.zero_()
                module.bias.zero_()
    masks = trajectory(cls(step=0.25), lm, request_for(lm), part)
    total = masks[0].numel()
    assert [int(mask.sum()) for mask in masks] == [total // 4, total // 2, 3 * total // 4, total]


def test_magnitude_prunes_the_smallest_l2_columns_of_the_whole_model(tiny_lm, request_for):
    lm = tiny_lm("gpt2")
    norms = torch.stack([p.module.weight.detach().square().sum(dim=1).sqrt() for p in lm.architecture.feed_forward])
    masks = trajectory(MagnitudePruning(where="feed-forward", norm="l2", step=0.25), lm, request_for(lm), steps=2)
    smallest = norms.flatten().argsort()
    for mask, count in zip(masks, (12, 24), strict=True):
        assert set(mask.flatten().nonzero().squeeze(1).tolist()) == set(smallest[:count].tolist())


def test_magnitude_by_l1_and_by_l2_differ(tiny_lm, request_for):
    for norm, first in (("l1", 0), ("l2", 1)):
        lm = tiny_lm("gpt_neox")
        for projection in lm.architecture.feed_forward:
            projection.outgoing.fill_(5.0)
        outgoing = lm.architecture.feed_forward[1].outgoing
        outgoing[:2] = 0
        outgoing[0, 0] = 4.0  # l1 4, l2 4
        outgoing[1, :9] = 1.0  # l1 9, l2 3
        (mask,) = trajectory(MagnitudePruning(where="feed-forward", step=0.02, norm=norm), lm, request_for(lm), steps=1)
        assert mask.nonzero().tolist() == [[1, first]]


def test_magnitude_ranks_layers_together(tiny_lm, request_for):
    lm = tiny_lm("llama")
    lm.architecture.feed_forward[0].outgoing.mul_(100)
    lm.architecture.feed_forward[1].outgoing.mul_(0.01)
    masks = trajectory(MagnitudePruning(where="feed-forward", step=0.5), lm, request_for(lm), steps=1)
    assert masks[0].sum(dim=1).tolist() == [0, NEURONS]


def test_selective_ranks_layers_together(tiny_lm, request_for, monkeypatch):
    scores = torch.arange(1.0, 1 + LAYERS * NEURONS).view(LAYERS, NEURONS)
    monkeypatch.setattr("methods.selective_pruning.selectivity", lambda *_, **__: [scores])
    lm = tiny_lm()
    masks = trajectory(SelectivePruning(step=0.25), lm, request_for(lm))
    assert [mask.sum(dim=1).tolist() for mask in masks] == [[0, 12], [0, 24], [12, 24], [24, 24]]


@pytest.mark.parametrize("importance", ["abs", "rms", "std", "freq", "std-as-coded", "rms-as-coded"])
def test_selective_prunes_the_top_scores_of_the_whole_model(tiny_lm, request_for, importance):
    lm, request = tiny_lm("gpt_neox"), request_for(tiny_lm("gpt_neox"))
    (scores,) = selectivity(lm, request.forget, request.kept("retain"), neurons_of(lm, "feed-forward"), importance, eps=1e-3)
    method = SelectivePruning(importance=importance, kept="retain", step=0.25)
    (mask,) = trajectory(method, lm, request, steps=1)
    assert mask.sum() == 12
    assert scores[mask].min() >= scores[~mask].max()


def test_selective_one_shot_follows_the_first_ranking_and_iterative_measures_again(tiny_lm, request_for):
    request = request_for(tiny_lm())
    one_shot, iterative = tiny_lm(), tiny_lm()
    method = SelectivePruning(importance="abs", step=0.25, eps=1e-4, kept="both")
    (scores,) = selectivity(one_shot, request.forget, request.kept("both"), neurons_of(one_shot, "feed-forward"), "abs", eps=1e-4)
    fixed = trajectory(dataclasses.replace(method, iterative=False), one_shot, request)
    for count, mask in zip((12, 24, 36), fixed, strict=False):
        assert set(mask.flatten().nonzero().squeeze(1).tolist()) == set(scores.flatten().argsort(descending=True)[:count].tolist())

    moving = trajectory(method, iterative, request)
    assert torch.equal(fixed[0], moving[0])
    assert not torch.equal(fixed[1], moving[1])
    again = tiny_lm()
    for projection, neurons in zip(again.architecture.feed_forward, moving[0], strict=True):
        projection.prune(neurons)
    (scores,) = selectivity(again, request.forget, request.kept("both"), neurons_of(again, "feed-forward"), "abs", eps=1e-4)
    new = moving[1] & ~moving[0]
    assert scores[new].min() >= scores[~moving[1]].max()


@pytest.mark.parametrize(("iterative", "passes"), [(True, 4), (False, 1)])
def test_one_shot_measures_once(tiny_lm, request_for, iterative, passes):
    lm = tiny_lm()
    calls = []
    lm.model.base_model.register_forward_pre_hook(lambda *_: calls.append(1))
    list(SelectivePruning(step=0.25, iterative=iterative).unlearn(lm, request_for(lm)))
    assert len(calls) == 2 * passes  # forget and kept text, a batch each


def test_random_prunes_every_layer_alike_and_every_neuron_as_often(tiny_lm, request_for):
    lm = tiny_lm()
    request = request_for(lm)
    weights = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    often = torch.zeros(LAYERS, NEURONS)
    for seed in range(400):
        lm.model.load_state_dict(weights)
        (mask,) = trajectory(RandomPruning(step=0.25), lm, dataclasses.replace(request, seed=seed), steps=1)
        assert mask.sum(dim=1).tolist() == [NEURONS // 4] * LAYERS
        often += mask
    expected, deviation = 400 / 4, (400 * 0.25 * 0.75) ** 0.5
    assert (often - expected).abs().max() < 5 * deviation
    assert (often - expected).abs().mean() > 0.2 * deviation  # and not by rote


@pytest.mark.parametrize("method", [RandomPruning(step=0.1), SelectivePruning(step=0.1, tokens=40), HeadPruning(step=0.2, tokens=20)])
def test_the_seed_alone_decides(tiny_lm, request_for, method):
    part = "attention" if isinstance(method, HeadPruning) else "feed-forward"

    def run(seed):
        lm = tiny_lm()
        return torch.stack(trajectory(method, lm, request_for(lm, seed), part))

    assert torch.equal(run(1), run(1))
    assert any(not torch.equal(run(1), run(seed)) for seed in (2, 3, 4, 5))


@pytest.mark.parametrize("cls", ALL)
def test_global_random_state_is_left_alone(tiny_lm, request_for, cls):
    lm = tiny_lm()
    request = request_for(lm)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    list(cls(step=0.5).unlearn(lm, request))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]


@pytest.mark.parametrize("aggregate", ["mean", "median"])
@pytest.mark.parametrize("family", CONFIGS)
def test_heads_go_whole_and_by_their_aggregate(tiny_lm, request_for, family, aggregate):
    lm = tiny_lm(family)
    request, size = request_for(lm), lm.architecture.head_size
    (scores,) = selectivity(lm, request.forget, request.kept("both"), neurons_of(lm, "attention"), "abs", eps=1e-4)
    by_head = scores.reshape(LAYERS, HEADS, size).numpy()
    values = by_head.mean(axis=2) if aggregate == "mean" else np.sort(by_head, axis=2)[:, :, size // 2 - 1]
    masks = trajectory(HeadPruning(aggregate=aggregate, step=0.02), lm, request, "attention")
    heads = [mask.reshape(LAYERS, HEADS, size) for mask in masks]
    assert all((h.all(dim=2) == h.any(dim=2)).all() for h in heads)
    assert [int(h.all(dim=2).sum()) for h in heads] == list(range(1, LAYERS * HEADS + 1))  # one a step, none twice
    assert heads[0].all(dim=2).flatten().nonzero().item() == values.argmax()


def test_mean_and_median_of_a_head_differ(tiny_lm, request_for, monkeypatch):
    scores = torch.ones(LAYERS, HEADS, 4)
    scores[0, 1] = torch.tensor([0.0, 0.0, 0.0, 9.0])  # largest mean, smallest median
    scores[1, 2] = torch.tensor([0.0, 2.0, 2.0, 2.0])  # largest median
    monkeypatch.setattr("methods.head_pruning.selectivity", lambda *_, **__: [scores.flatten(1)])
    for aggregate, expected in (("mean", (0, 1)), ("median", (1, 2))):
        lm = tiny_lm()
        (mask,) = trajectory(HeadPruning(aggregate=aggregate), lm, request_for(lm), "attention", steps=1)
        assert mask.view(LAYERS, HEADS, 4).all(dim=2).nonzero().tolist() == [list(expected)]


def test_random_heads_are_drawn_from_the_whole_model_by_the_seed_alone(tiny_lm, request_for, monkeypatch):
    monkeypatch.setattr("methods.head_pruning.selectivity", lambda *_, **__: 1 / 0)
    orders = []
    for seed in (0, 0, 1, 2, 3, 4):
        lm = tiny_lm()
        masks = trajectory(HeadPruning(aggregate="random"), lm, request_for(lm, seed), "attention")
        heads = [mask.view(LAYERS * HEADS, 4).all(dim=1) for mask in masks]
        assert [int(h.sum()) for h in heads] == list(range(1, LAYERS * HEADS + 1))
        orders.append(tuple(int(h.nonzero()[0]) for h in heads[:1]) + tuple(h.sum().item() for h in heads[3].view(LAYERS, HEADS)))
    assert orders[0] == orders[1]
    assert len(set(orders)) > 2


def test_kept_text_decides_what_is_spared(tiny_lm, request_for):
    masks = []
    for kept in ("retain", "general", "both"):
        lm = tiny_lm()
        masks.append(trajectory(SelectivePruning(kept=kept, step=0.25), lm, request_for(lm), steps=1)[0])
    assert not torch.equal(masks[0], masks[1])
    assert Counter(int(mask.sum()) for mask in masks) == {12: 3}


def test_without_general_text_it_cannot_be_kept(tiny_lm, request_for):
    lm = tiny_lm()
    request = dataclasses.replace(request_for(lm), general=None)
    with pytest.raises(Unsupported, match="general"):
        next(SelectivePruning(kept="general").unlearn(lm, request))
    for kept in ("retain", "both"):
        next(SelectivePruning(kept=kept).unlearn(lm, request))
    assert request.kept("both") is request.retain


@pytest.mark.parametrize("cls", ALL)
def test_an_undescribed_model_is_declined(tiny_lm, request_for, cls):
    lm = tiny_lm()
    bloom = BloomForCausalLM(BloomConfig(vocab_size=512, hidden_size=8, n_layer=1, n_head=2))
    assert cls().unsupported(lm, request_for(lm)) is None
    assert "'bloom'" in cls().unsupported(LanguageModel(bloom, lm.tokenizer, lm.folder, lm.context), request_for(lm))


@pytest.mark.parametrize(
    ("cls", "field", "value", "right"),
    [
        (SelectivePruning, "where", "mlp", "feed-forward, attention, both"),
        (SelectivePruning, "importance", "variance", "freq, abs, rms, std"),
        (SelectivePruning, "kept", "all", "retain, general, both"),
        (SelectivePruning, "step", 0.0, "above 0 and at most 1"),
        (SelectivePruning, "step", 2.0, "above 0 and at most 1"),
        (SelectivePruning, "step", float("nan"), "above 0 and at most 1"),
        (SelectivePruning, "eps", 0.0, "above 0"),
        (SelectivePruning, "tokens", 0, "above 0"),
        (RandomPruning, "where", "ff", "feed-forward, attention, both"),
        (RandomPruning, "step", 1.5, "at most 1"),
        (MagnitudePruning, "where", "ff", "feed-forward, attention, both"),
        (MagnitudePruning, "step", -0.1, "above 0"),
        (MagnitudePruning, "norm", "linf", "l1, l2"),
        (HeadPruning, "aggregate", "max", "mean, median, random"),
        (HeadPruning, "importance", "l2", "freq, abs, rms, std"),
    ],
)
def test_a_wrong_field_is_told_the_right_values(cls, field, value, right):
    with pytest.raises(ValueError, match=f"{field} must be .*{right}"):
        cls(**{field: value})


def test_rows_and_searches():
    rows = registry.methods()
    assert rows["selective-pruning"].build() == SelectivePruning(where="feed-forward")
    assert rows["selective-pruning-attention"].build().where == "attention"
    assert {rows[name].cls for name in ("random-pruning", "magnitude-pruning", "head-pruning")} == set(ALL) - {SelectivePruning}
    for cls in ALL:
        assert 6 <= np.prod([len(values) for values in cls.search.values()]) <= 9
        for name, values in cls.search.items():
            for value in values:
                cls(**{name: value})
