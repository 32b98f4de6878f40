"""Forgetting far past a model that never saw the text, seen only once it is there."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, cross_entropy, descend, kl_divergence, original, register


@register("overshooting")
@dataclass(frozen=True)
class Overshooting(UnlearningMethod):
    """Ascend on the forget set, bound to the untouched model on kept text, and show nothing but the end."""

    lr: float = 1e-3
    steps: int = 60

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        untouched = original(lm)

        def loss(forget: Passages, kept: Passages) -> Tensor:
            with untouched() as reference:
                before = reference.logits(kept)
            return -cross_entropy(lm, forget) + 4 * kl_divergence(before, lm.logits(kept), kept)

        for _ in descend(lm, loss, [request.forget, request.kept("both")], lr=self.lr, steps=self.steps, batch=8, seed=request.seed):
            pass
        yield
