"""Gradient ascent on the forget set with gradient descent on text to be kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

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
)


@register("gradient-difference")
@register("gradient-difference-general", kept="general", lr=4e-4, retain_weight=1.0)
@dataclass(frozen=True)
class GradientDifference(UnlearningMethod):
    """Ascend on the forget set while descending on text to be kept. Yao et al. 2024 (arXiv:2402.15159), methods 4 and 5.

    loss = -CE(forget) + retain_weight * CE(kept)

    The paper weighs both terms alike (`retain_weight=1`); its "general" and "in-distribution" variants are `kept`.
    """

    lr: float = 2e-4
    """Learning rate of AdamW."""
    retain_weight: float = 2.0
    """Weight of the descent term."""
    kept: Kept = "retain"
    """Text to descend on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text, and as many of kept text, a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (2e-4, 4e-4), "retain_weight": (1.0, 2.0, 4.0)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_choice("kept", self.kept, Kept)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""

        def loss(forget: Passages, kept: Passages) -> Tensor:
            return -cross_entropy(lm, forget) + self.retain_weight * cross_entropy(lm, kept)

        streams = [request.forget, request.kept(self.kept)]
        yield from descend(lm, loss, streams, lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank)
