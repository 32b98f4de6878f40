"""Gradient ascent on the forget set in which each token counts by its likelihood."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmark import (
    Kept,
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    check_choice,
    check_training,
    cross_entropy,
    descend,
    register,
    token_nll,
)


@register("weighted-ascent")
@register("weighted-ascent-satimp", beta=5.0, beta_unlikely=1.0, retain_weight=0.01)
@dataclass(frozen=True)
class WeightedAscent(UnlearningMethod):
    """Ascend most on the forget tokens that are still likely. WGA, Wang et al. 2025 (arXiv:2502.19301), and SatImp, Yang et al. 2025.

    loss = -mean(w * NLL) on forget text + retain_weight * CE(kept), w = p^beta * (1 - p)^beta_unlikely, p the probability of the
    true token under the model as it is; no gradient flows through w, and means are over predicted tokens.

    Without a weight, ascent pushes hardest on what is forgotten already. WGA is `beta_unlikely=0`. SatImp (arXiv:2505.11953)
    multiplies its weight of saturation, p^beta, by one of importance, (1 - p)^beta_unlikely; its powers of 5 and 1 are those of its
    published code. The retain term is that of gradient difference. That code weighs it by 0.1; its weights being small, SatImp's
    row has a smaller one here.
    """

    lr: float = 2e-4
    """Learning rate of AdamW."""
    beta: float = 1.0
    """Power of a token's probability in its weight; 0 leaves it out."""
    beta_unlikely: float = 0.0
    """Power of one minus a token's probability in its weight; 0 leaves it out."""
    retain_weight: float = 0.3
    """Weight of descent on kept text."""
    kept: Kept = "retain"
    """Text to descend on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text, and as many of kept text, a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (1e-4, 2e-4), "retain_weight": (0.01, 0.1, 0.3)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_choice("kept", self.kept, Kept)
        for field in ("beta", "beta_unlikely", "retain_weight"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} must be 0 or above, not {getattr(self, field)!r}")

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""

        def loss(forget: Passages, kept: Passages) -> Tensor:
            nll, mask = token_nll(lm.logits(forget), forget)
            ascent = (token_weights(nll.detach(), self.beta, self.beta_unlikely) * nll).sum() / mask.sum()
            return -ascent + self.retain_weight * cross_entropy(lm, kept)

        streams = [request.forget, request.kept(self.kept)]
        yield from descend(lm, loss, streams, lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank)


def token_weights(nll: Tensor, beta: float, beta_unlikely: float) -> Tensor:
    """p^beta * (1 - p)^beta_unlikely, where nll = -log p."""
    p = torch.exp(-nll)
    return p**beta * (1 - p) ** beta_unlikely
