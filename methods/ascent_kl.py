"""Gradient ascent on the forget set while the model is held to its former predictions on text to be kept."""

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
    check_positive,
    check_training,
    cross_entropy,
    descend,
    kl_divergence,
    original,
    register,
)


@register("ascent-kl")
@register("ascent-kl-general", kept="general", lr=2e-4, kl_weight=16.0)
@dataclass(frozen=True)
class AscentKL(UnlearningMethod):
    """Ascend on the forget set, bound to the untouched model on text to be kept. Yao et al. 2024 (arXiv:2402.15159), methods 6 and 7.

    loss = -CE(forget) + kl_weight * KL(p0 || p) on kept text, p0 the untouched model; each term is a mean over predicted tokens.

    The paper writes the second term as the cross-entropy from p0 to p, which is the same but for a constant, and weighs both
    terms alike (`kl_weight=1`); its "general" and "in-distribution" variants are `kept`. The authors' code counts padding in the
    mean and works in bfloat16; here padding never counts, and the divergence is taken in float32.
    """

    lr: float = 4e-4
    """Learning rate of AdamW."""
    kl_weight: float = 4.0
    """Weight of the divergence."""
    kept: Kept = "retain"
    """Text to stay the same on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text, and as many of kept text, a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (2e-4, 4e-4), "kl_weight": (1.0, 4.0, 16.0)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_positive("kl_weight", self.kl_weight)
        check_choice("kept", self.kept, Kept)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""
        streams = [request.forget, request.kept(self.kept)]
        untouched = original(lm, self.lora_rank)

        def loss(forget: Passages, kept: Passages) -> Tensor:
            with untouched() as reference:
                before = reference.logits(kept)
            return -cross_entropy(lm, forget) + self.kl_weight * kl_divergence(before, lm.logits(kept), kept)

        yield from descend(lm, loss, streams, lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank)
