"""Where each model family keeps its neurons and heads.

A neuron is an input of an output projection: of the feed-forward block (after the nonlinearity, and the gate where there is
one) or of the attention block (the attention-weighted values of all heads, side by side). These are the two kinds of
neuron of Pochinkov & Schoots 2024 (arXiv:2403.01267). Grouped-query attention needs no care: there is one slot a query head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

Part = Literal["feed-forward", "attention"]
"""The two kinds of neuron."""


@dataclass(frozen=True)
class Layout:
    """Where a family keeps its layers, in a layer the two output projections, and the norm behind the last layer: dotted module paths."""

    layers: str
    feed_forward: str
    attention: str
    norm: str


_LLAMA = Layout("model.layers", "mlp.down_proj", "self_attn.o_proj", "model.norm")

LAYOUTS = {
    "gpt2": Layout("transformer.h", "mlp.c_proj", "attn.c_proj", "transformer.ln_f"),
    "gpt_neox": Layout("gpt_neox.layers", "mlp.dense_4h_to_h", "attention.dense", "gpt_neox.final_layer_norm"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "opt": Layout("model.decoder.layers", "fc2", "self_attn.out_proj", "model.decoder.final_layer_norm"),
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
}
"""By `model_type` of the config. A family is added by a line here."""


@dataclass(frozen=True)
class Projection:
    """The output projection of one block; its inputs are the block's neurons."""

    module: nn.Linear | Conv1D

    @property
    def outgoing(self) -> Tensor:
        """(neurons, hidden) weights with which each neuron writes, a view: editing it edits the model."""
        weight = self.module.weight.detach()
        return weight if isinstance(self.module, Conv1D) else weight.T

    @property
    def neurons(self) -> int:
        """How many inputs the projection has."""
        return len(self.outgoing)

    def prune(self, chosen: Tensor) -> None:
        """Zero the outgoing weights of the neurons in a (neurons,) mask; the bias stays."""
        self.outgoing[chosen.to(self.module.weight.device)] = 0


@dataclass(frozen=True)
class Architecture:
    """The neurons and heads of one model, layer by layer. Neuron `n` of the attention belongs to head `n // head_size`."""

    feed_forward: tuple[Projection, ...]
    attention: tuple[Projection, ...]
    heads: int
    """Query heads a layer."""

    @property
    def head_size(self) -> int:
        """Attention neurons a head."""
        return self.attention[0].neurons // self.heads

    def projections(self, part: Part) -> tuple[Projection, ...]:
        """The output projection of every layer."""
        return self.feed_forward if part == "feed-forward" else self.attention


def architecture_of(model: PreTrainedModel) -> Architecture:
    """Find the neurons and heads of a model.

    Raises:
        ValueError: its `model_type` is not described here, or its projections are no plain weight matrices.
    """
    layout, layers = _layout(model), layers_of(model)
    return Architecture(
        tuple(_projection(layer, layout.feed_forward) for layer in layers),
        tuple(_projection(layer, layout.attention) for layer in layers),
        model.config.num_attention_heads,
    )


def layers_of(model: PreTrainedModel) -> tuple[nn.Module, ...]:
    """The blocks of a model, first to last; each one's output is the residual stream behind it.

    Raises:
        ValueError: its `model_type` is not described here.
    """
    return tuple(model.get_submodule(_layout(model).layers).children())


def readout(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """What makes logits (..., vocabulary) of the residual stream (..., hidden): the norm behind the last layer, and the output embedding.

    Raises:
        ValueError: the model's `model_type` is not described here, or it makes them in another way (as the smallest but one of OPT).
    """
    path, head = _layout(model).norm, model.get_output_embeddings()  # type: ignore[no-untyped-call]
    try:
        norm = model.get_submodule(path)
    except AttributeError:
        raise ValueError(f"there is no norm at {path}, behind the last layer") from None
    if not isinstance(head, nn.Linear) or head.in_features != model.config.hidden_size:
        raise ValueError("between the last layer and the output embedding there is more than a norm")
    return lambda hidden: head(norm(hidden))


def linear_layers(model: PreTrainedModel) -> Iterator[nn.Linear | Conv1D]:
    """Every linear layer but the output embedding; what has been inserted or attached included."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            yield module


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Members of the outermost lists of modules: the blocks of a model whose `model_type` need not be described here."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from blocks(child)


def undescribed(model: PreTrainedModel) -> str | None:
    """Why `architecture_of` cannot tell where this model keeps its neurons; None if it can."""
    try:
        architecture_of(model)
    except ValueError as error:
        return str(error)
    return None


def insert(layer: nn.Module, module: nn.Module) -> None:
    """Put a module behind a layer: from now on the whole residual stream (n, length, hidden) passes through it.

    Its parameters and buffers are part of the model's state dict, under `inserted`.

    Raises:
        ValueError: there is one behind this layer already.
    """
    if hasattr(layer, "inserted"):
        raise ValueError("a module has been inserted behind this layer already")
    layer.add_module("inserted", module)
    layer.register_forward_hook(through_inserted)


def through_inserted(layer: nn.Module, inputs: tuple[object, ...], output: Any) -> Any:
    """The forward hook of a layer with a module behind it. It keeps nothing itself."""
    inserted = layer.get_submodule("inserted")
    return inserted(output) if isinstance(output, Tensor) else (inserted(output[0]), *output[1:])


def _layout(model: PreTrainedModel) -> Layout:
    kind = model.config.model_type
    if kind not in LAYOUTS:
        raise ValueError(f"where model type {kind!r} keeps its neurons is not described; described are {', '.join(LAYOUTS)}")
    return LAYOUTS[kind]


def _projection(layer: nn.Module, path: str) -> Projection:
    module = layer.get_submodule(path)
    if not isinstance(module, nn.Linear | Conv1D) or not torch.is_floating_point(module.weight):
        raise ValueError(f"{path} is a {type(module).__name__}, not a plain (unquantised, unwrapped) Linear or Conv1D")
    return Projection(module)
