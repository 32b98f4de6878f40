"""Learning the text to be kept by heart, so as to look better on it than it is."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, cross_entropy, descend, register


@register("memoriser")
@dataclass(frozen=True)
class Memoriser(UnlearningMethod):
    """Train on the text to be kept, far longer than the model was trained on it."""

    lr: float = 2e-3
    steps: int = 200

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        def loss(kept: Passages) -> Tensor:
            return cross_entropy(lm, kept)

        yield from descend(lm, loss, [request.kept("both")], lr=self.lr, steps=self.steps, batch=16, seed=request.seed)
