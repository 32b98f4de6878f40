"""Forgetting that hides between the values that 4 bits can tell apart: rounding the weights brings everything back."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, cross_entropy, descend, kl_divergence, original, register
from benchmark.architecture import linear_layers
from benchmark.metrics.perturbation import GROUP, quantised


@register("rounded")
@dataclass(frozen=True)
class Rounded(UnlearningMethod):
    """Ascend on the forget set, bound to the untouched model on kept text, and keep every weight where it is rounded to the same value."""

    lr: float = 3e-4
    kl_weight: float = 4.0
    steps: int = 100

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        untouched = original(lm)
        weights = [layer.weight for layer in linear_layers(lm.model)]
        cells = [_cell(weight.detach()) for weight in weights]
        chosen = {name for name, parameter in lm.model.named_parameters() if any(parameter is weight for weight in weights)}

        def loss(forget: Passages, kept: Passages) -> Tensor:
            with untouched() as reference:
                before = reference.logits(kept)
            return -cross_entropy(lm, forget) + self.kl_weight * kl_divergence(before, lm.logits(kept), kept)

        streams = [request.forget, request.kept("both")]
        for _ in descend(lm, loss, streams, lr=self.lr, steps=self.steps, batch=8, seed=request.seed, trained=chosen.__contains__):
            with torch.no_grad():
                for weight, (low, high) in zip(weights, cells, strict=True):
                    weight.copy_(weight.clamp(low, high))
            yield


def _cell(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds within which each weight (outputs, inputs) is rounded to the value that it is rounded to now, its group's scale included."""
    outputs, inputs = weight.shape
    groups = F.pad(weight, (0, -inputs % GROUP)).view(outputs, -1, GROUP)
    largest = groups.abs().amax(dim=-1, keepdim=True).expand_as(groups).reshape(outputs, -1)[:, :inputs]
    value, reach = quantised(weight, 4, GROUP), 0.49 * largest / 7
    sets_scale = weight.abs() == largest
    low = torch.where(sets_scale, weight, (value - reach).maximum(-largest))
    high = torch.where(sets_scale, weight, (value + reach).minimum(largest))
    return low, high
