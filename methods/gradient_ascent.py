"""Gradient ascent on the forget set."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, check_training, cross_entropy, descend, register


@register("gradient-ascent")
@dataclass(frozen=True)
class GradientAscent(UnlearningMethod):
    """Ascend on the loss of the forget set. Yao et al. 2024 (arXiv:2402.15159), method 1.

    loss = -CE(forget)
    """

    lr: float = 1e-4
    """Learning rate of AdamW."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (1e-5, 3e-5, 1e-4), "batch": (8, 16)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""

        def loss(forget: Passages) -> Tensor:
            return -cross_entropy(lm, forget)

        yield from descend(
            lm, loss, [request.forget], lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank
        )
