"""Fine-tuning on the forget set with labels drawn at random."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, check_training, descend, label_cross_entropy, register


@register("random-labels")
@dataclass(frozen=True)
class RandomLabels(UnlearningMethod):
    """Train the model to predict random tokens on forget text. Yao et al. 2024 (arXiv:2402.15159), method 2.

    loss = CE(forget; labels), where the model reads the text itself, token i is to be predicted as label i, and the mean is
    over predicted tokens. The labels are drawn once, uniformly from the tokens of the tokenizer, and stay the same in every pass.

    The authors' code leaves special tokens as they are; our text has none.
    """

    lr: float = 2e-5
    """Learning rate of AdamW."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 16
    """Windows of forget text a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (2e-5, 5e-5, 1e-4), "batch": (8, 16)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""
        labels = drawn_labels(request.forget, len(lm.tokenizer), request.seed)

        def loss(forget: Passages) -> Tensor:
            return label_cross_entropy(lm, forget, labels[forget.window, : forget.ids.shape[1]])

        yield from descend(
            lm, loss, [request.forget], lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank
        )


def drawn_labels(text: Passages, vocabulary: int, seed: int) -> Tensor:
    """(n, length) tokens drawn uniformly from the vocabulary, one for every real token; 0 where padded."""
    labels = torch.zeros_like(text.ids)
    # nothing is drawn for padding, so that how far the windows are padded does not change the labels
    labels[text.mask] = torch.randint(vocabulary, (text.tokens,), generator=torch.Generator().manual_seed(seed))
    return labels
