"""What tests of losses share: a model that is a table, a way to the loss of a method, and the same model in float64."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from benchmark import LanguageModel, Passages, Request, UnlearningMethod
from benchmark.memory.plan import MemoryPlan


class Bigram(nn.Module):
    """A language model that is a table: row v holds the logits of what follows token v."""

    def __init__(self, *rows: list[float]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor(rows))
        self.plan = MemoryPlan()

    @property
    def model(self) -> Bigram:
        return self

    @property
    def device(self) -> torch.device:
        """Where the table is."""
        return self.table.device

    @property
    def tokenizer(self) -> range:
        """As long as the vocabulary."""
        return range(len(self.table))

    def logits(self, text: Passages) -> Tensor:
        return self.table[text.ids]

    def becomes(self, *rows: list[float]) -> None:
        with torch.no_grad():
            self.table.copy_(torch.tensor(rows))


class Handed(NamedTuple):
    """What a method hands to `descend`."""

    loss: Callable[..., Tensor]
    streams: Sequence[Passages]
    options: dict[str, Any]


def handed_to_descend(method: UnlearningMethod, lm: Any, request: Request, monkeypatch: pytest.MonkeyPatch) -> Handed:
    """Start a method, of which no step is taken."""
    found: list[Handed] = []

    def listen(lm: Any, loss: Callable[..., Tensor], streams: Sequence[Passages], **options: Any) -> Iterator[None]:
        found.append(Handed(loss, streams, options))
        yield

    monkeypatch.setattr(sys.modules[type(method).__module__], "descend", listen)
    next(method.unlearn(lm, request))
    return found[0]


def nudge(lm: LanguageModel, size: float = 0.02) -> None:
    """Move all weights a little."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in lm.model.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator))


def in_float64(lm: LanguageModel) -> nn.Module:
    """The same model, exactly."""
    model: nn.Module = copy.deepcopy(lm.model).double()
    return model


def window_nll(model: nn.Module, text: Passages) -> list[tuple[Tensor, int]]:
    """Summed negative log-likelihood of each window and how many tokens it is of, one unpadded window at a time."""
    found = []
    for ids, mask in zip(text.ids, text.mask, strict=True):
        window = ids[mask]
        log_p = model(input_ids=window[None]).logits[0].log_softmax(dim=-1)
        found.append((-sum((log_p[i, token] for i, token in enumerate(window[1:])), torch.zeros(())), len(window) - 1))
    return found


def mean_nll(model: nn.Module, text: Passages) -> Tensor:
    """Mean over all tokens."""
    windows = window_nll(model, text)
    return torch.stack([nll for nll, _ in windows]).sum() / sum(count for _, count in windows)


def assert_same_gradients(loss: Tensor, model: nn.Module, exact: Tensor, reference: nn.Module) -> None:
    """The loss and its gradients are those of the reference."""
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)
    pairs = zip(
        torch.autograd.grad(loss, list(model.parameters()), allow_unused=True),
        torch.autograd.grad(exact, list(reference.parameters()), allow_unused=True),
        strict=True,
    )
    known = [(a, b) for a, b in pairs if a is not None or b is not None]
    assert known
    for a, b in known:
        assert a is not None
        assert b is not None
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-4 * max(1e-3, b.abs().max().item()))


HALF = [0.0, 0.0]
"""Logits that make two tokens equally likely."""


def odds(chance: float) -> list[float]:
    """Logits that give token 0 this chance, and token 1 the rest."""
    return [math.log(chance), math.log(1 - chance)]
