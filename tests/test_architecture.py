from __future__ import annotations

import pytest
import torch
from conftest import CONFIGS, HEADS, LAYERS, NEURONS
from torch import nn
from transformers import BloomConfig, BloomForCausalLM
from transformers.pytorch_utils import Conv1D

from benchmark import architecture_of, undescribed
from benchmark.architecture import LAYOUTS

PARTS = ("feed-forward", "attention")


def silence(module, chosen):
    """A hook that zeroes the inputs of `module` at `chosen`: what pruning has to amount to."""

    def hook(_, inputs):
        return (inputs[0] * (~chosen).to(inputs[0]), *inputs[1:])

    return module.register_forward_pre_hook(hook)


def every_third(projection, offset=0):
    return torch.arange(projection.neurons) % 3 == offset


def test_every_described_family_is_tested():
    assert set(CONFIGS) == set(LAYOUTS)


@pytest.mark.parametrize("family", CONFIGS)
def test_counts(tiny_lm, family):
    architecture = tiny_lm(family).architecture
    assert [p.neurons for p in architecture.feed_forward] == [NEURONS] * LAYERS
    size = 8 if family == "qwen3" else 4
    assert [p.neurons for p in architecture.attention] == [HEADS * size] * LAYERS
    assert (architecture.heads, architecture.head_size) == (HEADS, size)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("family", CONFIGS)
def test_pruning_equals_silencing_the_neuron(tiny_lm, request_for, family, part):
    lm = tiny_lm(family)
    batch = request_for(lm).forget
    before = lm.logits(batch)
    projections = lm.architecture.projections(part)
    hooks = [silence(p.module, every_third(p, layer)) for layer, p in enumerate(projections)]
    silenced = lm.logits(batch)
    for hook in hooks:
        hook.remove()
    for layer, projection in enumerate(projections):
        projection.prune(every_third(projection, layer))
    pruned = lm.logits(batch)
    assert torch.allclose(pruned[batch.mask], silenced[batch.mask], atol=1e-5)
    assert not torch.allclose(pruned[batch.mask], before[batch.mask], atol=1e-2)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("family", CONFIGS)
def test_pruning_equals_zeroing_the_weight_column_and_nothing_else(tiny_lm, family, part):
    lm, expected = tiny_lm(family), tiny_lm(family).model.state_dict()
    (projection, other) = lm.architecture.projections(part)
    chosen = every_third(projection)
    (name,) = [name for name, module in lm.model.named_modules() if module is projection.module]
    if isinstance(projection.module, Conv1D):
        expected[f"{name}.weight"][chosen, :] = 0
    else:
        expected[f"{name}.weight"][:, chosen] = 0
    projection.prune(chosen)
    for key, value in lm.model.state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert (projection.outgoing == 0).all(dim=1).tolist() == chosen.tolist()
    assert not (other.outgoing == 0).any()


@pytest.mark.parametrize("family", CONFIGS)
def test_attention_neurons_lie_head_by_head(tiny_lm, request_for, family):
    """Silencing the values of one query head moves that head's neurons and no others."""
    lm = tiny_lm(family)
    batch = request_for(lm).forget
    architecture = lm.architecture
    size = architecture.head_size
    seen = []
    handle = architecture.attention[0].module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, -2)))
    lm.logits(batch)
    rows = {"gpt2": "attn.c_attn", "gpt_neox": "attention.query_key_value"}.get(family, "self_attn.q_proj")
    layer = lm.model.get_submodule(LAYOUTS[family].layers)[0]
    weight = layer.get_submodule(rows).weight
    with torch.no_grad():  # another query for head 1 alone
        if family == "gpt2":
            weight[:, size : 2 * size] *= -1
        elif family == "gpt_neox":
            weight[3 * size : 4 * size] *= -1
        else:
            weight[size : 2 * size] *= -1
    lm.logits(batch)
    handle.remove()
    moved = (seen[0] - seen[1]).abs().amax(dim=0) > 1e-4
    assert moved.tolist() == [size <= n < 2 * size for n in range(4 * size)]


def test_outgoing_is_a_view(tiny_lm):
    for family in ("gpt2", "llama"):
        projection = tiny_lm(family).architecture.feed_forward[0]
        assert projection.outgoing.data_ptr() == projection.module.weight.data_ptr()
        assert not projection.outgoing.requires_grad


def test_an_unknown_family_is_named_with_the_known_ones(tiny_lm):
    model = BloomForCausalLM(BloomConfig(vocab_size=16, hidden_size=8, n_layer=1, n_head=2))
    with pytest.raises(ValueError, match=r"'bloom'.*gpt2, gpt_neox, llama"):
        architecture_of(model)
    assert "'bloom'" in undescribed(model)
    assert undescribed(tiny_lm("opt").model) is None


def test_a_wrapped_projection_is_refused(tiny_lm):
    model = tiny_lm("llama").model
    model.model.layers[1].mlp.down_proj = nn.Sequential(model.model.layers[1].mlp.down_proj)
    with pytest.raises(ValueError, match=r"mlp\.down_proj is a Sequential"):
        architecture_of(model)
