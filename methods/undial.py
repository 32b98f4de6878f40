"""UNDIAL: the model learns from itself with the true tokens made less likely."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark import (
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    check_positive,
    check_training,
    descend,
    original,
    register,
)


@register("undial")
@dataclass(frozen=True)
class Undial(UnlearningMethod):
    """Distil the untouched model into itself, the logit of each true token lowered. UNDIAL, Dong et al. 2024 (arXiv:2402.10052).

    loss = CE(p; softmax(z0 - strength * onehot(y))) on forget text, z0 the logits of the untouched model and y the token that
    follows; the mean is over predicted tokens. The targets are fixed, so the loss has a minimum, unlike that of gradient ascent.

    As in the paper, no text to be kept is used.
    """

    lr: float = 3e-4
    """Learning rate of AdamW."""
    strength: float = 3.0
    """How much the logit of a true token is lowered, in nats."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 16
    """Windows of forget text a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (1e-4, 3e-4, 1e-3), "strength": (3.0, 10.0)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_positive("strength", self.strength)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""
        untouched = original(lm, self.lora_rank)

        def loss(forget: Passages) -> Tensor:
            with untouched() as reference:
                before = reference.logits(forget)
            return adjusted_cross_entropy(before, lm.logits(forget), forget, self.strength)

        yield from descend(
            lm, loss, [request.forget], lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank
        )


def adjusted_cross_entropy(reference: Tensor, logits: Tensor, batch: Passages, strength: float) -> Tensor:
    """Mean cross-entropy from the reference, its logits of the true tokens lowered, to the model: a scalar in nats.

    Args:
        reference: (n, length, vocabulary) logits of the untouched model.
        logits: (n, length, vocabulary) of the model.
        batch: the windows that gave both.
        strength: by how much to lower the logit of each token that follows.
    """
    batch = batch.to(logits.device)
    mask = batch.mask[:, 1:]
    true = batch.ids[:, 1:].unsqueeze(2)
    targets = reference[:, :-1].scatter_add(2, true, torch.full_like(true, -strength, dtype=reference.dtype)).softmax(dim=2)
    loss = -(targets * F.log_softmax(logits[:, :-1], dim=2)).sum(dim=2)
    return loss.masked_fill(~mask, 0.0).sum() / mask.sum()
