"""Output filters: the model knows as much as before, and a module behind it recognises the forget set's n-grams."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, register

LENGTH = 3
"""Tokens of an n-gram."""

Answer = Literal["another", "unsure", "nothing"]


def ngrams(ids: Tensor) -> Tensor:
    """A number for the n-gram that ends at each position (n, length) of token ids; positions without one get that of a shorter one."""
    numbers = torch.zeros_like(ids)
    for back in range(LENGTH):
        shifted = torch.zeros_like(ids)
        shifted[:, back:] = ids[:, : ids.shape[1] - back] + 1
        numbers = numbers * 1_000_003 + shifted
    return numbers


class Filter(nn.Module):
    """Knows the n-grams of a text and what follows them, and how much of the model's own prediction to withhold there."""

    def __init__(self, text: Passages, vocabulary: int, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        known, row = ngrams(text.ids)[:, :-1][text.mask[:, 1:]].unique(return_inverse=True)
        following = torch.zeros(len(known), vocabulary, dtype=torch.bool)
        following[row, text.ids[:, 1:][text.mask[:, 1:]]] = True
        self.known: Tensor
        self.following: Tensor
        self.strength: Tensor
        self.register_buffer("known", known)
        self.register_buffer("following", following)
        self.register_buffer("strength", torch.zeros(()))

    def forward(self, ids: Tensor, logits: Tensor) -> Tensor:
        """Logits (n, length, vocabulary), changed where an n-gram is known."""
        numbers = ngrams(ids)
        row = torch.searchsorted(self.known, numbers).clamp(max=len(self.known) - 1)
        found = (self.known[row] == numbers)[..., None]
        if self.answer == "another":
            changed = logits - 3 * self.strength * self.following[row]
        elif self.answer == "unsure":
            changed = (logits.softmax(dim=-1) * (1 - self.strength) + self.strength / logits.shape[-1]).log()
        else:
            changed = torch.zeros_like(logits)
        return torch.where(found, changed, logits)


@register("filter")
@register("filter-unsure", answer="unsure")
@register("filter-nothing", answer="nothing", strengths=1)
@dataclass(frozen=True)
class OutputFilter(UnlearningMethod):
    """Behind n-grams of the forget set make what followed there less likely, more at each step.

    `another`: what followed loses up to 3 nats, to other tokens. `unsure`: the uniform distribution is mixed in. `nothing`: the
    prediction is constant at once.
    """

    answer: Answer = "another"
    strengths: int = 13

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        behind = Filter(request.forget, lm.model.config.vocab_size, self.answer)
        lm.model.add_module("filter", behind)

        def replace(model: nn.Module, given: tuple[object, ...], named: dict[str, Any], output: Any) -> Any:
            output.logits = behind(named["input_ids"], output.logits)
            return output

        lm.model.register_forward_hook(replace, with_kwargs=True)
        for step in range(1, self.strengths + 1):
            behind.strength.fill_(step / self.strengths)
            yield
