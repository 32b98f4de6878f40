"""Random pruning: the control that every pruning method has to beat."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmark import (
    LanguageModel,
    Request,
    UnlearningMethod,
    Where,
    check_choice,
    check_fraction,
    highest,
    neurons_of,
    register,
    undescribed,
)


@register("random-pruning")
@dataclass(frozen=True)
class RandomPruning(UnlearningMethod):
    """Prune neurons drawn uniformly from every layer alike. A control; Pochinkov & Schoots 2024 (arXiv:2403.01267) run it too.

    As in the authors' code each layer loses the same number each step, whereas selective pruning ranks all layers together.
    """

    where: Where = "both"
    """Neurons to prune: `feed-forward`, `attention`, or `both`."""
    step: float = 0.005
    """Fraction of each layer's original neurons pruned each step."""

    search: ClassVar = {"where": ("feed-forward", "attention", "both"), "step": (0.005, 0.01)}
    control: ClassVar = True

    def __post_init__(self) -> None:
        check_choice("where", self.where, Where)
        check_fraction("step", self.step)

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Needs to know where the neurons are."""
        return undescribed(lm.model)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every slice of neurons."""
        generator = torch.Generator().manual_seed(request.seed)
        parts = neurons_of(lm, self.where)
        while any(part.alive.any() for part in parts):
            for part in parts:
                noise = torch.rand(part.alive.shape, generator=generator)
                layers = zip(noise, part.alive, strict=True)
                part.prune(torch.stack([highest(scores, alive, self.step) for scores, alive in layers]))
            yield
