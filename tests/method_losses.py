"""The losses of gradient methods laid open: on a model that is a table, for cases worked out by hand, and step by step in float64."""

from __future__ import annotations

import copy
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from test_losses import batch
from torch import Tensor, nn

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, descend
from benchmark.memory.plan import MemoryPlan

Loss = Callable[..., Tensor]
Formula = Callable[[Any, Any, Request], Loss]
"""Given a method, the untouched model in float64 and the request: the loss of a model in float64 on the batches of a step."""


class Bigram:
    """A language model that is a table: row v holds the logits of what follows token v."""

    def __init__(self, *rows: list[float]) -> None:
        self.table = torch.tensor(rows, requires_grad=True)
        self.plan = MemoryPlan()

    @property
    def model(self) -> nn.Module:
        """What a copy of it would hold."""
        return nn.ParameterList([self.table])

    def logits(self, text: Passages) -> Tensor:
        return self.table[text.ids]

    def copy(self) -> Bigram:
        return Bigram(*self.table.tolist())

    def becomes(self, *rows: list[float]) -> None:
        with torch.no_grad():
            self.table.copy_(torch.tensor(rows))

    def gradient(self, value: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(value, self.table)
        return gradient

    @property
    def tokenizer(self) -> range:
        """As long as the vocabulary."""
        return range(len(self.table))


QUARTER = [0.0, math.log(3)]
"""Logits that give token 0 one in four and token 1 three in four."""
HALF = [0.0, 0.0]
FORGET = batch([0, 1, 0], [0, 1], padding=2)
"""The tokens to predict are 1 and 0, and 1 in the other window: 1 after 0 twice, 0 after 1 once."""
KEPT = batch([1, 1], [1, 1, 1])


def loss_of(method: UnlearningMethod, lm: Bigram, monkeypatch: pytest.MonkeyPatch) -> Loss:
    """The loss that a method hands to `descend`, which takes no step."""
    handed: list[Loss] = []

    def listen(lm: Any, loss: Loss, streams: list[Passages], **options: Any) -> Iterator[None]:
        handed.append(loss)
        yield

    monkeypatch.setattr(sys.modules[type(method).__module__], "descend", listen)
    next(method.unlearn(lm, Request(FORGET, KEPT, KEPT, seed=0)))  # type: ignore[arg-type]
    return handed[0]


class Step(NamedTuple):
    """One optimiser step as it was taken: the model before it in float64, the batches, the loss and its gradients by name."""

    model: nn.Module
    texts: tuple[Passages, ...]
    value: float
    gradients: dict[str, Tensor]


def watched(method: UnlearningMethod, lm: LanguageModel, request: Request, monkeypatch: pytest.MonkeyPatch, steps: int = 3) -> list[Step]:
    """The first steps of a run."""
    seen: list[Step] = []

    def watch(lm: LanguageModel, loss: Loss, streams: list[Passages], **options: Any) -> Iterator[None]:
        def noted(*texts: Passages) -> Tensor:
            before = copy.deepcopy(lm.model).double()
            value = loss(*texts)
            seen.append(Step(before, texts, value.item(), gradients_of(value, lm.model)))
            return value

        return descend(lm, noted, streams, **options)

    monkeypatch.setattr(sys.modules[type(method).__module__], "descend", watch)
    assert len(list(itertools.islice(method.unlearn(lm, request), steps))) == steps
    return seen


def gradients_of(value: Tensor, model: nn.Module) -> dict[str, Tensor]:
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    gradients = torch.autograd.grad(value, list(trained.values()), retain_graph=True)
    return dict(zip(trained, gradients, strict=True))


def predictions(model: Any, text: Passages) -> Iterator[tuple[int, int, Tensor, int]]:
    """Window, place in it, logits (vocabulary,) and token of every predicted token: window by window, without padding."""
    for ids, mask, window in zip(text.ids, text.mask, text.window.tolist(), strict=True):
        tokens = ids[mask]
        logits = model(input_ids=tokens.unsqueeze(0)).logits[0]
        for place in range(1, len(tokens)):
            yield window, place, logits[place - 1], int(tokens[place])


def mean(values: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def nll(model: Any, text: Passages) -> Tensor:
    return mean(-logits.log_softmax(dim=0)[token] for _, _, logits, token in predictions(model, text))


def check_every_step(method: Any, make: Formula, lm: LanguageModel, request: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients of the first steps are those of the formula; with LoRA, only adapters are trained."""
    untouched = lm.copy()
    steps = watched(method, lm, request, monkeypatch)
    formula = make(method, untouched.copy().model.double(), request)
    for step in steps:
        value = formula(step.model, *step.texts)
        assert step.value == pytest.approx(value.item(), rel=1e-4)
        expected = gradients_of(value, step.model)
        assert step.gradients.keys() == expected.keys()
        assert all(("lora" in name) == bool(method.lora_rank) for name in expected)
        difference = sum(float((step.gradients[name] - gradient).square().sum()) for name, gradient in expected.items())
        assert difference < 1e-6 * sum(float(gradient.square().sum()) for gradient in expected.values())
    if method.lora_rank:
        after = dict(lm.model.named_parameters())
        for name, weight in untouched.model.named_parameters():
            assert torch.equal(weight, after[name if name in after else adapted(name)])


def adapted(name: str) -> str:
    """What a weight is called behind an adapter."""
    module, _, weight = name.rpartition(".")
    return f"{module}.base_layer.{weight}"
