"""Fine-tuning on the forget set with the most plausible wrong labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, check_training, descend, label_cross_entropy, register


@register("adversarial-labels")
@dataclass(frozen=True)
class AdversarialLabels(UnlearningMethod):
    """Train the model to predict, on forget text, its own best guess but the truth. Yao et al. 2024 (arXiv:2402.15159), method 3.

    loss = CE(forget; labels), label_i = argmax over v != u_i of p0(v | u_<i), where u is the text and p0 the untouched model.
    The labels are worked out once, before the first step; the mean is over predicted tokens.
    """

    lr: float = 2e-5
    """Learning rate of AdamW."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 16
    """Windows of forget text a step."""
    off_by_one: bool = False
    """Take label_i from p0(v | u_<=i), the guess after token i has been read, as the authors' code does: its labels are one
    position off the paper's. The code also bans the last token of the vocabulary as a label, which is not done here."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (2e-5, 5e-5, 1e-4), "batch": (8, 16)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""
        labels = torch.zeros_like(request.forget.ids)
        for text in request.forget.in_order(self.batch):
            with torch.no_grad():
                labels[text.window, : text.ids.shape[1]] = adversarial_labels(lm.logits(text), text, self.off_by_one).cpu()

        def loss(forget: Passages) -> Tensor:
            return label_cross_entropy(lm, forget, labels[forget.window, : forget.ids.shape[1]])

        yield from descend(
            lm, loss, [request.forget], lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank
        )


def adversarial_labels(logits: Tensor, batch: Passages, off_by_one: bool) -> Tensor:
    """The likeliest token (n, length) for each place of the text other than the one that stands there.

    Args:
        logits: (n, length, vocabulary) of the untouched model.
        batch: the windows that gave them.
        off_by_one: guess token i from what the model says behind it; otherwise before it, and the first label is 0, never used.
    """
    ids = batch.ids.to(logits.device)
    guesses = logits if off_by_one else F.pad(logits[:, :-1], (0, 0, 1, 0))
    return guesses.scatter(2, ids.unsqueeze(2), -torch.inf).argmax(dim=2)
