"""SalUn: unlearn with only the weights that the forget set tells most about."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from benchmark import (
    Kept,
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    check_choice,
    check_fraction,
    check_training,
    cross_entropy,
    descend,
    gradients,
    label_cross_entropy,
    register,
    total_nll,
)

Forgetting = Literal["random-labels", "ascent"]


@register("salun")
@register("salun-ascent", forgetting="ascent", saliency=0.5, retain_weight=2.0)
@dataclass(frozen=True)
class SalUn(UnlearningMethod):
    """Train only the weights salient for the forget set, on random labels. Fan et al. 2023 (arXiv:2310.12508).

    salient: |d CE(forget) / d weight| at the untouched model is among the highest `saliency` share of all weights
    loss = CE(forget; labels) + retain_weight * CE(kept), whose gradient is 0 but for salient weights

    Ported from image classifiers to next-token prediction: every token of the forget set is given another label, drawn once
    and uniformly from all tokens but the true one, and the model reads the text itself. The gradient is of the whole forget
    set, the share of all weights together, embeddings included; a weight without any gradient there is never salient.
    """

    lr: float = 2e-4
    """Learning rate of AdamW."""
    saliency: float = 0.1
    """Share of the weights that are trained; half in the paper."""
    forgetting: Forgetting = "random-labels"
    """`random-labels`, the paper's choice, or `ascent`: -CE(forget) in place of the first term."""
    retain_weight: float = 4.0
    """Weight of the loss on kept text."""
    kept: Kept = "retain"
    """Text to descend on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text, and as many of kept text, a step."""
    lora_rank: int = 0
    """Must be 0: the method chooses among the weights, which LoRA leaves alone."""

    search: ClassVar = {"lr": (5e-5, 1e-4, 2e-4), "saliency": (0.1, 0.5)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_fraction("saliency", self.saliency)
        check_choice("forgetting", self.forgetting, Forgetting)
        check_choice("kept", self.kept, Kept)

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Has nothing to choose from where the weights are left alone."""
        return "it trains chosen weights, and LoRA trains none of them" if self.lora_rank else None

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""
        salient = self.salient_weights(lm, request.forget)
        labels = other_labels(request.forget, len(lm.tokenizer), torch.Generator().manual_seed(request.seed))

        def loss(forget: Passages, kept: Passages) -> Tensor:
            if self.forgetting == "ascent":
                forgetting = -cross_entropy(lm, forget)
            else:
                forgetting = label_cross_entropy(lm, forget, labels[forget.window, : forget.ids.shape[1]])
            return forgetting + self.retain_weight * cross_entropy(lm, kept)

        yield from descend(
            lm,
            loss,
            [request.forget, request.kept(self.kept)],
            lr=self.lr,
            steps=self.steps,
            batch=self.batch,
            seed=request.seed,
            gradient=lambda name, gradient: gradient * salient[name],
        )

    def salient_weights(self, lm: LanguageModel, text: Passages) -> dict[str, Tensor]:
        """Masks of the weights to train, by name."""
        weights = {name: weight for name, weight in lm.model.named_parameters() if weight.requires_grad}
        sizes = {name: torch.zeros(weight.shape, device=weight.device) for name, weight in weights.items()}
        for batch in text.in_order(self.batch):
            # summed, since a mean would weigh the tokens of a batch by how few they are
            for name, gradient in gradients(lm, lambda part: total_nll(lm, part), [batch], weights).items():
                sizes[name] += gradient
        every = torch.cat([size.abs_().flatten().cpu() for size in sizes.values()])
        threshold = every.kthvalue(len(every) - max(1, round(self.saliency * len(every))) + 1).values.item()
        return {name: (size >= threshold) & (size > 0) for name, size in sizes.items()}


def other_labels(text: Passages, vocabulary: int, generator: torch.Generator) -> Tensor:
    """For every window by its number, a row (length) with some other token in place of each."""
    labels = torch.zeros(int(text.window.max()) + 1, text.ids.shape[1], dtype=torch.long)
    # drawn for real tokens alone, so that padding does not matter; all shifts but 0 are equally likely
    shifts = torch.randint(1, vocabulary, (text.tokens,), generator=generator)
    drawn = text.ids.clone()
    drawn[text.mask] = (text.ids[text.mask] + shifts) % vocabulary
    labels[text.window] = drawn
    return labels
