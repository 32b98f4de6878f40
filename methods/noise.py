"""Noise: blur the weights, and heal on text to be kept."""

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
    cross_entropy,
    descend,
    register,
)


@register("noise")
@dataclass(frozen=True)
class Noise(UnlearningMethod):
    """Add Gaussian noise to all weights, then fine-tune on kept text. A control that never looks at the forget set.

    step: weight += sigma * rms(its tensor) * N(0, 1), for every weight; then `healing` optimiser steps on CE(kept)

    Known as "weight distortion" in public comparisons of unlearning methods, which add noise of one standard deviation to
    all weights once and then fine-tune for long. Here the noise comes in many small rounds, each healed before the next, so
    that the model is unlearned a little more strongly each time instead of being wrecked first; after k rounds it adds up to
    sqrt(k) * sigma. And it is relative to the root mean square of each tensor, since tensors differ in scale.
    """

    sigma: float = 0.03
    """Standard deviation of a round's noise, in root mean squares of the tensor."""
    lr: float = 1e-3
    """Learning rate of AdamW, which starts afresh every round."""
    kept: Kept = "both"
    """Text to heal on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 40
    """Rounds of noise and healing."""
    healing: int = 2
    """Optimiser steps a round."""
    batch: int = 8
    """Windows of kept text an optimiser step."""
    lora_rank: int = 0
    """Must be 0: the noise is in the weights, and adapters of low rank cannot follow it there."""

    search: ClassVar = {"sigma": (0.003, 0.01, 0.03), "lr": (3e-4, 1e-3)}
    control: ClassVar = True

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_positive("sigma", self.sigma)
        check_positive("healing", self.healing)
        check_choice("kept", self.kept, Kept)

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Changes the weights, which LoRA is there to leave alone."""
        return "it puts noise on the weights, which LoRA leaves alone" if self.lora_rank else None

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every round."""
        generator = torch.Generator().manual_seed(request.seed)
        kept = request.kept(self.kept)

        def loss(text: Passages) -> Tensor:
            return cross_entropy(lm, text)

        for _ in range(self.steps):
            self.blur(lm, generator)
            order = int(torch.randint(2**31, (), generator=generator))  # of the text: another one every round
            for _ in descend(lm, loss, [kept], lr=self.lr, steps=self.healing, batch=self.batch, seed=order):
                pass
            yield

    @torch.no_grad()
    def blur(self, lm: LanguageModel, generator: torch.Generator) -> None:
        """One round's noise, on all weights that may be trained."""
        for weight in lm.model.parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=generator).to(weight)
                weight.add_(self.sigma * weight.float().square().mean().sqrt().to(weight) * noise)
