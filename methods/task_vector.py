"""Task arithmetic: learn the forget set on purpose, and go the other way."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmark import (
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    check_positive,
    check_training,
    cross_entropy,
    descend,
    register,
)


@register("task-vector")
@dataclass(frozen=True)
class TaskVector(UnlearningMethod):
    """Subtract what fine-tuning on the forget set adds. Ilharco et al. 2022 (arXiv:2212.04089).

    vector = weights fine-tuned on CE(forget) - weights; step k sets weights - k * scale * vector

    The paper's forgetting by negation. All fine-tuning precedes the first step. With LoRA the adapters are what is fine-tuned,
    in the model itself, and step k sets their second factor to -k * scale times what was learnt: there is no second model, and
    no weight of the model changes.
    """

    lr: float = 3e-4
    """Learning rate of the AdamW that fine-tunes."""
    steps: int = 40
    """Optimiser steps of the fine-tuning."""
    batch: int = 16
    """Windows of forget text a step of the fine-tuning."""
    scale: float = 0.05
    """How much of the vector each step subtracts; the paper tries every 0.05 up to 1."""
    scales: int = 40
    """How many such steps."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (3e-5, 1e-4, 3e-4), "steps": (20, 40)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_positive("scale", self.scale)
        check_positive("scales", self.scales)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every subtraction."""
        vector = self.fine_tuned_adapters(lm, request) if self.lora_rank else self.fine_tuned_weights(lm, request)
        weights = {name: weight for name, weight in lm.model.named_parameters() if name in vector}
        # in float32, as a small step on a bfloat16 weight is rounded away; of float32 weights this is no copy
        exact = {name: weight.detach().float() for name, weight in weights.items()}
        for _ in range(self.scales):
            with torch.no_grad():
                for name, weight in weights.items():
                    weight.copy_(exact[name].sub_(vector[name], alpha=self.scale))
            yield

    def fine_tuned_weights(self, lm: LanguageModel, request: Request) -> dict[str, Tensor]:
        """What fine-tuning adds to every weight. The fine-tuned copy of the model itself becomes the vector."""
        tuned = lm.copy()
        self.fine_tune(tuned, request)
        before = dict(lm.model.named_parameters())
        return {name: weight.detach().float().sub_(before[name].detach()) for name, weight in tuned.model.named_parameters()}

    def fine_tuned_adapters(self, lm: LanguageModel, request: Request) -> dict[str, Tensor]:
        """The second factors of the adapters as learnt, by name; those of the model go back to 0, which is no change."""
        self.fine_tune(lm, request)
        factors = {name: factor.detach() for name, factor in lm.model.named_parameters() if ".lora_B." in name}
        learnt = {name: factor.clone() for name, factor in factors.items()}
        for factor in factors.values():
            factor.zero_()
        return learnt

    def fine_tune(self, lm: LanguageModel, request: Request) -> None:
        """Learn the forget set."""

        def loss(forget: Passages) -> Tensor:
            return cross_entropy(lm, forget)

        for _ in descend(
            lm, loss, [request.forget], lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank
        ):
            pass
