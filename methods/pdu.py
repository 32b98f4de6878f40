"""PDU: flatten the logits on the forget set, subject to a bound on the loss of kept text."""

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
    check_positive,
    check_training,
    descend,
    register,
    sequence_nll,
)


@register("pdu")
@dataclass(frozen=True)
class PrimalDualUnlearning(UnlearningMethod):
    """Flatten the logits on forget text without letting kept text get worse. PDU, Entesari et al. 2025 (arXiv:2506.05314).

    minimise mean((max z - mean z)^2) on forget text, z the logits for a predicted token, subject to CE(kept) <= CE0(kept) + slack

    where CE0 is the loss of the untouched model. Each step descends on the Lagrangian, the first term plus multiplier * excess
    with excess = CE(kept) - CE0(kept) - slack, and then sets multiplier = max(0, multiplier + dual_lr * excess). Means are over
    predicted tokens.

    The paper bounds CE(kept) by one number, a little above where it starts. Here the start is that of the very windows of the
    batch, so that the excess does not depend on whether they are hard. The authors' code may hold the multiplier for some epochs
    first; here it moves from the first step.
    """

    lr: float = 3e-4
    """Learning rate of AdamW."""
    slack: float = 0.05
    """How many nats a token the loss of kept text may rise."""
    multiplier: float = 50.0
    """What the multiplier of the constraint starts from; large, since the squared logits are. The authors start from 50 or 100."""
    dual_lr: float = 5.0
    """How much the multiplier grows a step and a nat of excess."""
    kept: Kept = "retain"
    """Text that the constraint is on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text, and as many of kept text, a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (3e-5, 1e-4, 3e-4), "multiplier": (50.0, 100.0)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_positive("slack", self.slack)
        check_positive("dual_lr", self.dual_lr)
        check_choice("kept", self.kept, Kept)
        if self.multiplier < 0:
            raise ValueError(f"multiplier must be 0 or above, not {self.multiplier!r}")

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""
        streams = [request.forget, request.kept(self.kept)]
        start = torch.zeros(len(streams[1]))
        for text in streams[1].in_order(self.batch):
            with torch.no_grad():
                start[text.window] = sequence_nll(lm, text)[0].cpu()
        multiplier = self.multiplier

        def loss(forget: Passages, kept: Passages) -> Tensor:
            nonlocal multiplier
            nll, tokens = sequence_nll(lm, kept)
            excess = (nll - start[kept.window].to(nll.device)).sum() / tokens.sum() - self.slack
            lagrangian = flatness(lm.logits(forget), forget) + multiplier * excess
            multiplier = max(0.0, multiplier + self.dual_lr * excess.item())
            return lagrangian

        yield from descend(lm, loss, streams, lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank)


def flatness(logits: Tensor, batch: Passages) -> Tensor:
    """Mean squared distance from the highest logit to the mean one, over the predicted tokens; 0 where all are alike."""
    mask = batch.mask[:, 1:].to(logits.device)
    margin = logits.amax(dim=2) - logits.mean(dim=2)
    return margin[:, :-1].square().masked_fill(~mask, 0.0).sum() / mask.sum()
