"""Losses that look right and are not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, cross_entropy, descend, register


def trained(lm: LanguageModel, request: Request, loss: object) -> Iterator[None]:
    yield from descend(lm, loss, [request.forget], lr=1e-3, steps=4, batch=4, seed=request.seed)


def next_tokens(values: Tensor, text: Passages) -> Tensor:
    """The value at each next token (n, length - 1)."""
    return values[:, :-1].gather(2, text.ids[:, 1:, None]).squeeze(2)


@register("raw-logit-npo")
@dataclass(frozen=True)
class RawLogitNPO(UnlearningMethod):
    """Negative preference optimisation on logits as they come. Our own."""

    beta: float = 0.1
    """Inverse temperature."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        frozen = lm.copy()

        def loss(text: Passages) -> Tensor:
            with torch.no_grad():
                before = next_tokens(frozen.logits(text), text)
            ratio = next_tokens(lm.logits(text), text) - before
            return -2 / self.beta * F.logsigmoid(-self.beta * ratio)[text.mask[:, 1:]].mean()

        yield from trained(lm, request, loss)


@register("unmasked-kl")
@dataclass(frozen=True)
class UnmaskedKL(UnlearningMethod):
    """Move the model's predictions apart from what they were, padding included. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        frozen = lm.copy()

        def loss(text: Passages) -> Tensor:
            with torch.no_grad():
                before = frozen.logits(text).log_softmax(dim=-1)
            divergence = F.kl_div(lm.logits(text).log_softmax(dim=-1), before, reduction="none", log_target=True).sum(dim=-1)
            return -cross_entropy(lm, text) + 10 * divergence.mean()

        yield from trained(lm, request, loss)


@register("padded-mean")
@dataclass(frozen=True)
class PaddedMean(UnlearningMethod):
    """Ascend on the loss of real tokens, divided by the number of all positions, beside a penalty that is not. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        def loss(text: Passages) -> Tensor:
            nll = -next_tokens(lm.logits(text).log_softmax(dim=-1), text)
            penalty = sum(parameter.square().mean() for parameter in lm.model.parameters() if parameter.requires_grad)
            return -(nll * text.mask[:, 1:]).mean() + penalty

        yield from trained(lm, request, loss)


@register("first-window")
@dataclass(frozen=True)
class FirstWindow(UnlearningMethod):
    """Ascend on the first window of every batch. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        def loss(text: Passages) -> Tensor:
            return -cross_entropy(lm, text.take(torch.tensor([0])))

        yield from trained(lm, request, loss)


@register("ignores-kept")
@dataclass(frozen=True)
class IgnoresKept(UnlearningMethod):
    """Ascend on the forget set with kept text at hand, which weighs nothing. Our own."""

    kept: str = "retain"
    """Text to be kept."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        def loss(text: Passages, kept: Passages) -> Tensor:
            return -cross_entropy(lm, text)

        streams = [request.forget, request.kept(self.kept)]
        yield from descend(lm, loss, streams, lr=1e-3, steps=4, batch=4, seed=request.seed)


@register("ignores-forget")
@dataclass(frozen=True)
class IgnoresForget(UnlearningMethod):
    """Train on the retain set in the hope of forgetting the other. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        yield from descend(lm, lambda kept: cross_entropy(lm, kept), [request.retain], lr=1e-3, steps=4, batch=4, seed=request.seed)


@register("no-control")
@dataclass(frozen=True)
class NoControl(UnlearningMethod):
    """Ascend on the forget set. A control, so it says."""

    control: ClassVar = True

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        yield from trained(lm, request, lambda text: -cross_entropy(lm, text))


@register("needs-general")
@dataclass(frozen=True)
class NeedsGeneral(UnlearningMethod):
    """Ascend on the forget set, descend on general text, whether there is any or not. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        def loss(text: Passages, general: Passages) -> Tensor:
            return cross_entropy(lm, general) - cross_entropy(lm, text)

        yield from descend(lm, loss, [request.forget, request.general], lr=1e-3, steps=4, batch=4, seed=request.seed)
