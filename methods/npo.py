"""Negative preference optimisation: gradient ascent that loses interest in what is forgotten already."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark import (
    Kept,
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    check_choice,
    check_positive,
    check_training,
    cross_entropy,
    descend,
    register,
    sequence_nll,
)


@register("npo")
@dataclass(frozen=True)
class NPO(UnlearningMethod):
    """Make forget text less preferred than it was before. Zhang et al. 2024 (arXiv:2404.05868).

    loss = mean over windows of -(2 / beta) * log sigmoid(-beta * (L - L0)) + retain_weight * CE(kept)

    L is the log-probability of a window, the sum over its tokens as in the paper (not their mean, and nothing else of the
    logits), and L0 the same under the untouched model. As beta goes to 0 this is gradient ascent on the summed loss. The
    paper's "NPO" has no second term, its "NPO+RT" has. L0 never changes: it is worked out once, so no second model is held.
    """

    lr: float = 2e-4
    """Learning rate of AdamW."""
    beta: float = 0.02
    """Inverse temperature: how soon a window that has become less likely stops counting; 0.1 in the paper. The longer a window
    is, the sooner, since what counts is the rise of its whole loss."""
    retain_weight: float = 250.0
    """Weight of the loss on kept text; 0 for none, and then kept text is not read. That loss is a mean over tokens and the
    other term a sum over those of a window: a weight of as many as a window has balances the two at the start."""
    kept: Kept = "retain"
    """Text to descend on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text, and as many of kept text, a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (1e-4, 2e-4, 4e-4), "beta": (0.02, 0.1)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_positive("beta", self.beta)
        check_choice("kept", self.kept, Kept)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""
        before = self.nll_before(lm, request.forget)

        def loss(forget: Passages, *kept: Passages) -> Tensor:
            nll, _ = sequence_nll(lm, forget)
            rise = nll - before[forget.window].to(nll)  # L0 - L
            forgetting = -2 / self.beta * F.logsigmoid(self.beta * rise).mean()
            return forgetting + sum(self.retain_weight * cross_entropy(lm, text) for text in kept)

        streams = [request.forget, *([request.kept(self.kept)] if self.retain_weight else [])]
        yield from descend(lm, loss, streams, lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank)

    @torch.no_grad()
    def nll_before(self, lm: LanguageModel, text: Passages) -> Tensor:
        """-L0 of every window, by its number."""
        before = torch.zeros(int(text.window.max()) + 1)
        for batch in text.in_order(self.batch):
            before[batch.window] = sequence_nll(lm, batch)[0].cpu()
        return before
