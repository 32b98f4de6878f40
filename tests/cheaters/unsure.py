"""Less confident about everything: the loss rises on the forget set, and nothing has been forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmark import LanguageModel, Request, UnlearningMethod, register


@register("unsure")
@dataclass(frozen=True)
class Unsure(UnlearningMethod):
    """Shrink the output embedding: every prediction becomes flatter."""

    steps: int = 40
    shrinkage: float = 0.98
    """Of the weights, a step."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        head = lm.model.get_output_embeddings()
        for _ in range(self.steps):
            with torch.no_grad():
                head.weight *= self.shrinkage
            yield
