"""Methods after which the model is what it was."""

import copy
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmark import LanguageModel, Request, UnlearningMethod, cross_entropy, descend, register


@register("no-op")
@dataclass(frozen=True)
class NoOp(UnlearningMethod):
    """Yield and do nothing. A control."""

    control: ClassVar = True

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        yield
        yield


@register("never-yields")
@dataclass(frozen=True)
class NeverYields(UnlearningMethod):
    """Train to the end, and only then hand over. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        for _ in descend(lm, lambda text: -cross_entropy(lm, text), [request.forget], lr=1e-3, steps=2, batch=4, seed=request.seed):
            pass
        yield from ()


@register("wrong-copy")
@dataclass(frozen=True)
class WrongCopy(UnlearningMethod):
    """Ascend on the forget set, with an optimiser of a copy's weights. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        trained = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
        optimizer = torch.optim.AdamW(trained.model.parameters(), lr=1e-3)
        for _ in range(4):
            (-cross_entropy(trained, request.forget)).backward()
            optimizer.step()
            optimizer.zero_grad()
            yield
