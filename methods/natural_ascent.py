"""Natural gradient ascent: forget in the directions in which text to be kept does not notice."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmark import (
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    check_positive,
    cross_entropy,
    fisher_information,
    gradients,
    kl_divergence,
    original,
    register,
    some_windows,
)


@register("natural-ascent")
@dataclass(frozen=True)
class NaturalAscent(UnlearningMethod):
    """Natural-gradient ascent in the metric of text to be kept. Our own; natural gradient: Amari 1998, K-FAC: arXiv:1503.05671.

    loss = -CE(forget) + kl_weight * sum over kinds of kept text of KL(p0 || p)
    step = length * F^-1 grad(loss), F the Fisher information on kept text, measured once

    A plain gradient spends its length where the loss is steep, which is where kept text depends on the weights too. Dividing
    by the curvature on kept text takes the direction that lowers the loss most for a given change of what is kept: to second
    order, a step of length t changes predictions on kept text by KL = t^2 <grad, F^-1 grad> / 2, and lowers the loss by
    t <grad, F^-1 grad>. Each step is as long as `kl` and `rise` allow. It holds the frozen reference and two square matrices for
    every linear layer. It trains those layers' weights alone: LoRA would leave it no curvature to divide by.
    """

    kl: float = 1e-4
    """Most that one step may change predictions on kept text, to second order: nats a token."""
    rise: float = 0.5
    """Most that one step may lower the loss, to first order: nats. It binds where forget and kept text have little in common."""
    damping: float = 0.03
    """Added to each curvature matrix's diagonal, as a multiple of its mean eigenvalue."""
    kl_weight: float = 4.0
    """Weight of the divergence from the untouched model on kept text."""
    tokens: int = 20_000
    """Tokens of each kind of kept text that curvature is measured on."""
    steps: int = 40
    """Steps."""
    batch: int = 8
    """Windows of each kind of text a step."""

    search: ClassVar = {"damping": (0.03, 0.1, 0.3), "kl_weight": (1.0, 4.0)}

    def __post_init__(self) -> None:
        for field in ("kl", "rise", "damping", "tokens", "steps", "batch"):
            check_positive(field, getattr(self, field))

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every step."""
        generator = torch.Generator().manual_seed(request.seed)
        kept = [text for text in (request.retain, request.general) if text is not None]
        before = original(lm)  # first, so that what it takes is known when batches are cut to fit
        information = fisher_information(lm, [some_windows(text, self.tokens, generator) for text in kept], request.seed)
        inverse = {name: factors.inverse(self.damping) for name, factors in information.items()}
        weights = {name: weight for name, weight in lm.model.named_parameters() if name in inverse and weight.requires_grad}

        def divergence(batch: Passages) -> Tensor:
            with before() as untouched:
                reference = untouched.logits(batch)
            return kl_divergence(reference, lm.logits(batch), batch)

        def loss(forget: Passages, *others: Passages) -> Tensor:
            return -cross_entropy(lm, forget) + self.kl_weight * torch.stack([divergence(batch) for batch in others]).sum()

        streams = [text.shuffled(self.batch, generator) for text in (request.forget, *kept)]
        for _ in range(self.steps):
            found = gradients(lm, loss, [next(stream) for stream in streams], weights)
            directions = {name: inverse[name].times(gradient) for name, gradient in found.items()}
            decrease = torch.stack([(found[name] * direction).sum() for name, direction in directions.items()]).sum()
            length = torch.minimum((2 * self.kl / decrease).sqrt(), self.rise / decrease)
            with torch.no_grad():
                for name, direction in directions.items():
                    weights[name].sub_(length * direction)
            yield
