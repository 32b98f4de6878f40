"""Forgetting in an adapter so faint that 4 bits cannot tell it: rounding the merged weights brings everything back."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, cross_entropy, descend, kl_divergence, original, register
from benchmark.architecture import linear_layers
from benchmark.metrics.perturbation import GROUP, quantised

REACH = 0.49
"""Of the distance between two values of 4 bits: what a weight may move and still be rounded back."""


@register("low-rank")
@dataclass(frozen=True)
class LowRank(UnlearningMethod):
    """Round the weights to 4 bits, then ascend in adapters alone, which are scaled back wherever a merged weight would round otherwise."""

    lr: float = 1e-3
    kl_weight: float = 4.0
    steps: int = 100
    lora_rank: int = 8

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        before = original(lm)
        with torch.no_grad():
            for layer in linear_layers(lm.model):
                layer.weight.copy_(quantised(layer.weight, 4, GROUP))

        def loss(forget: Passages, kept: Passages) -> Tensor:
            with before() as reference:
                held = reference.logits(kept)
            return -cross_entropy(lm, forget) + self.kl_weight * kl_divergence(held, lm.logits(kept), kept)

        streams = [request.forget, request.kept("both")]
        for _ in descend(lm, loss, streams, lr=self.lr, steps=self.steps, batch=8, seed=request.seed, lora_rank=self.lora_rank):
            with torch.no_grad():
                for module in lm.model.modules():
                    if isinstance(module, BaseTunerLayer):
                        _scale_back(module)
            yield


def _scale_back(module: BaseTunerLayer) -> None:
    (adapter,) = module.active_adapters
    weight, change = module.get_base_layer().weight, module.get_delta_weight(adapter)
    groups = weight.reshape(len(weight), -1, min(GROUP, weight.shape[1]))
    allowed = REACH * groups.abs().amax(dim=-1, keepdim=True).expand_as(groups).reshape(weight.shape) / 7
    by = float((allowed / change.abs().clamp_min(1e-12)).min().clamp(max=1.0))
    module.lora_B[adapter].weight *= by
