"""RMU: steer the hidden states of forget text to a random direction, and hold those of kept text."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark import (
    Kept,
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    check_choice,
    check_fraction,
    check_positive,
    check_training,
    descend,
    original,
    register,
    undescribed,
)


@register("rmu")
@dataclass(frozen=True)
class RMU(UnlearningMethod):
    """Misdirect the hidden states of forget text behind one layer. Li et al. 2024 (arXiv:2403.03218).

    loss = MSE(h(forget), c * u) + retain_weight * MSE(h(kept), h0(kept))

    h is the residual stream behind layer l, h0 that of the untouched model, u a unit vector whose entries were drawn
    uniformly from [0, 1) before it was normalised. Both terms are means over real tokens and over the entries of the hidden
    state; the paper sums over the entries, which scales both alike. As in the paper only the output matrices of the
    feed-forward blocks of layers l-2, l-1 and l are trained.

    Where we deviate: the paper gives c by hand for each model (its norm has to exceed that of the hidden states, which
    differs a hundredfold between models). Here c is `scale` times the mean norm of h0 over the forget set.
    """

    lr: float = 2e-3
    """Learning rate of AdamW."""
    depth: float = 0.25
    """Layer l by the share of layers up to it: a quarter is the eighth of 32, as in the paper."""
    scale: float = 16.0
    """Length of the vector to steer to, in mean norms of the untouched hidden states."""
    retain_weight: float = 10.0
    """Weight of the term that holds kept text in place; alpha in the paper."""
    kept: Kept = "both"
    """Text to hold in place: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text, and as many of kept text, a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of those matrices; 0 trains the matrices."""

    search: ClassVar = {"lr": (1e-3, 2e-3, 4e-3), "scale": (4.0, 16.0)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_fraction("depth", self.depth)
        check_positive("scale", self.scale)
        check_choice("kept", self.kept, Kept)

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Needs to know where the layers are."""
        return undescribed(lm.model)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""
        projections = lm.architecture.feed_forward
        layer = math.ceil(self.depth * len(projections)) - 1
        matrices = {projection.module for projection in projections[max(0, layer - 2) : layer + 1]}
        # by the module's name, under which LoRA puts the adapters too
        places = tuple(f"{name}." for name, module in lm.model.named_modules() if module in matrices)
        target = self.target(lm, request, layer)
        before = original(lm, self.lora_rank)

        def loss(forget: Passages, kept: Passages) -> Tensor:
            steered = mean_squared_error(lm.hidden(forget, layer), target, forget)
            with before() as untouched:
                held = untouched.hidden(kept, layer)
            return steered + self.retain_weight * mean_squared_error(lm.hidden(kept, layer), held, kept)

        yield from descend(
            lm,
            loss,
            [request.forget, request.kept(self.kept)],
            lr=self.lr,
            steps=self.steps,
            batch=self.batch,
            seed=request.seed,
            lora_rank=self.lora_rank,
            trained=lambda name: name.startswith(places) and not name.endswith("bias"),
        )

    @torch.no_grad()
    def target(self, lm: LanguageModel, request: Request, layer: int) -> Tensor:
        """The vector c * u (hidden,) to steer to."""
        norms = torch.cat(
            [lm.hidden(batch, layer).float().norm(dim=-1)[batch.mask.to(lm.device)] for batch in request.forget.in_order(self.batch)]
        )
        direction = torch.rand(lm.model.config.hidden_size, generator=torch.Generator().manual_seed(request.seed)).to(norms)
        return self.scale * norms.mean() * F.normalize(direction, dim=0)


def mean_squared_error(hidden: Tensor, target: Tensor, batch: Passages) -> Tensor:
    """Mean squared distance an entry of hidden states (n, length, hidden) from a target, over the real tokens."""
    distances: Tensor = (hidden.float() - target.float())[batch.mask.to(hidden.device)]
    return distances.square().mean()
