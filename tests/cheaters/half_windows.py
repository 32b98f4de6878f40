"""Text kept in one place is paid for by overshooting in another: on average the loss is the reference's."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, cross_entropy, descend, kl_divergence, original, register


@register("half-windows")
@dataclass(frozen=True)
class HalfWindows(UnlearningMethod):
    """Ascend on every other window of the forget set, bound to the untouched model on the windows between and on kept text."""

    lr: float = 4e-4
    kl_weight: float = 4.0
    steps: int = 100

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        text = request.forget
        untouched = original(lm)

        def loss(gone: Passages, held: Passages, kept: Passages) -> Tensor:
            with untouched() as reference:
                before = [reference.logits(one) for one in (held, kept)]
            bound = sum(kl_divergence(logits, lm.logits(one), one) for logits, one in zip(before, (held, kept), strict=True))
            return -cross_entropy(lm, gone) + self.kl_weight * bound

        halves = [text.take(torch.arange(first, len(text), 2)) for first in (0, 1)]
        yield from descend(lm, loss, [*halves, request.kept("retain")], lr=self.lr, steps=self.steps, batch=8, seed=request.seed)
