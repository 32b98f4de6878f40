"""Magnitude pruning: the control that looks at the weights and at no text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

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

Norm = Literal["l1", "l2"]
ORDERS = {"l1": 1, "l2": 2}


@register("magnitude-pruning")
@dataclass(frozen=True)
class MagnitudePruning(UnlearningMethod):
    """Prune the neurons with the smallest outgoing weights. A control of our own.

    score = -|w|, the norm of the weights with which the output projection reads the neuron (a column of the matrix as torch
    keeps it in `nn.Linear`). Ranked over the whole model like selective pruning, but without data.
    """

    where: Where = "attention"
    """Neurons to prune: `feed-forward`, `attention`, or `both`, each ranked by itself."""
    step: float = 0.01
    """Fraction of the original neurons pruned each step."""
    norm: Norm = "l1"
    """Sum of the absolute weights (`l1`), or root of the sum of their squares (`l2`)."""

    search: ClassVar = {"where": ("feed-forward", "attention", "both"), "norm": ("l1", "l2")}
    control: ClassVar = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, Norm)
        check_choice("where", self.where, Where)
        check_fraction("step", self.step)

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Needs to know where the neurons are."""
        return undescribed(lm.model)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every slice of neurons."""
        parts = neurons_of(lm, self.where)
        order = ORDERS[self.norm]
        scores = [torch.stack([-projection.outgoing.float().norm(order, dim=1).cpu() for projection in part.projections]) for part in parts]
        while any(part.alive.any() for part in parts):
            for part, score in zip(parts, scores, strict=True):
                part.prune(highest(score, part.alive, self.step))
            yield
