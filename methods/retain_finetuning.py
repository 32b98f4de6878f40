"""Fine-tuning on text to be kept: a control that never looks at the forget set."""

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


@register("retain-finetuning")
@dataclass(frozen=True)
class RetainFinetuning(UnlearningMethod):
    """Go on training on text to be kept and let the rest fade. A control; Yao et al. 2024 (arXiv:2402.15159) list it too.

    loss = CE(kept)
    """

    lr: float = 1e-3
    """Learning rate of AdamW."""
    kept: Kept = "retain"
    """Text to train on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 16
    """Windows of kept text a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (3e-4, 1e-3, 3e-3), "kept": ("retain", "both")}
    control: ClassVar = True

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_choice("kept", self.kept, Kept)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""

        def loss(kept: Passages) -> Tensor:
            return cross_entropy(lm, kept)

        yield from descend(
            lm, loss, [request.kept(self.kept)], lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank
        )
