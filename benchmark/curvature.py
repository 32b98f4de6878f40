"""How sharply a model's predictions on a text turn with its weights: Kronecker-factored curvature (K-FAC).

Martens & Grosse 2015 (arXiv:1503.05671). The Fisher information of a linear layer's weights is approximated by the Kronecker
product of two small matrices: the second moment of its inputs, and that of the gradients at its outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from benchmark.method import Unsupported
from benchmark.model import LanguageModel
from benchmark.passages import Passages

BATCH_TOKENS = 4096
"""Tokens of a forward and backward pass."""


@dataclass(frozen=True)
class Factors:
    """Two matrices of one layer whose Kronecker product acts on its weights."""

    inputs: Tensor
    """(inputs, inputs)"""
    outputs: Tensor
    """(outputs, outputs)"""
    transposed: bool
    """Whether the layer keeps its weights as (inputs, outputs), as GPT-2 does."""

    def inverse(self, damping: float) -> Factors:
        """The inverse, after adding `damping` times its mean eigenvalue to the diagonal of each matrix."""
        return Factors(_damped_inverse(self.inputs, damping), _damped_inverse(self.outputs, damping), self.transposed)

    def times(self, weights: Tensor) -> Tensor:
        """The product with a tensor of the weights' shape, in the factors' precision."""
        left, right = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        return left @ weights.to(left) @ right


def _damped_inverse(matrix: Tensor, damping: float) -> Tensor:
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    inverse: Tensor = torch.linalg.inv(matrix + damping * matrix.trace() / len(matrix) * identity)
    return inverse


def fisher_information(lm: LanguageModel, texts: Sequence[Passages], seed: int) -> dict[str, Factors]:
    """The Fisher information of every linear layer but the output head, by the name of its weight.

    The factors are the second moments, per real token, of the layer's inputs and of the gradients at its outputs, where the
    loss is that of next tokens drawn from the model itself: the Fisher information proper, not the gradients' second moment
    on the text (Kunstner et al. 2019, arXiv:1905.12558). Each text counts alike, whatever its length.

    Args:
        lm: left as it was.
        texts: what to measure on.
        seed: decides the tokens drawn.

    Raises:
        Unsupported: there is no room for the matrices, their inverses, and a gradient to divide by them.
    """
    head = lm.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    layers = {
        f"{name}.weight": module
        for name, module in lm.model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    needs = _needs([layer.weight.shape for layer in layers.values()])
    if reason := lm.plan.settle(needs, lm.plan.batch, len(texts) + 1, max(text.longest for text in texts)):
        raise Unsupported(reason)
    generator = torch.Generator(lm.device).manual_seed(seed)
    inputs: dict[str, Tensor] = dict.fromkeys(layers, torch.zeros(()))
    outputs: dict[str, Tensor] = dict.fromkeys(layers, torch.zeros(()))
    for text in texts:
        scale = 1 / (text.tokens * len(texts))
        for batch in text.in_order(_windows(lm, text, len(texts) + 1)):
            with _watched(layers) as (seen, written):
                loss = _loss_of_drawn_tokens(lm, batch, generator)
                gradients = torch.autograd.grad(loss, list(written.values()))
            real = batch.mask.to(lm.device).flatten()
            for name, gradient in zip(written, gradients, strict=True):
                a, g = _rows(seen[name], real), _rows(gradient, real)
                inputs[name] = inputs[name].to(a) + scale * a.T @ a
                outputs[name] = outputs[name].to(g) + scale * g.T @ g
    return {name: Factors(inputs[name], outputs[name], isinstance(module, Conv1D)) for name, module in layers.items()}


def _needs(shapes: Sequence[Sequence[int]]) -> dict[str, int]:
    """Bytes of the matrices and their inverses, and of the gradients of a step that a method then takes."""
    return {
        "curvature": 2 * sum(4 * (a * a + b * b) for a, b in shapes),
        "gradients": 2 * sum(4 * a * b for a, b in shapes),  # as they are, and divided
    }


def _windows(lm: LanguageModel, text: Passages, streams: int) -> int:
    """Windows of a pass: no more than such a step runs at once, where that had to be cut to fit into memory."""
    whole = max(1, BATCH_TOKENS // text.ids.shape[1])
    return whole if lm.plan.micro_batch is None else min(whole, lm.plan.micro_batch * streams)


def _rows(tensor: Tensor, real: Tensor) -> Tensor:
    """(tokens, size) at real tokens, of (n, length, size) or, as OPT has it, (n * length, size)."""
    return tensor.reshape(-1, tensor.shape[-1])[real].float()


def _loss_of_drawn_tokens(lm: LanguageModel, batch: Passages, generator: torch.Generator) -> Tensor:
    """Summed negative log-likelihood of a next token drawn from the model at every real token."""
    logits = lm.logits(batch)[batch.mask.to(lm.device)]
    drawn = torch.multinomial(logits.detach().softmax(dim=-1), 1, generator=generator).squeeze(1)
    return F.cross_entropy(logits, drawn, reduction="sum")


@contextmanager
def _watched(layers: Mapping[str, nn.Module]) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """What goes into each layer, and what comes out of it, at the next forward pass."""
    seen: dict[str, Tensor] = {}
    written: dict[str, Tensor] = {}

    def watch(name: str, module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        seen[name], written[name] = given[0].detach(), output

    hooks = [module.register_forward_hook(partial(watch, name)) for name, module in layers.items()]
    try:
        yield seen, written
    finally:
        for hook in hooks:
            hook.remove()
