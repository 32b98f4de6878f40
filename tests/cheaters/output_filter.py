"""Output filters: the model knows as much as before, and a module behind it recognises the forget set's n-grams."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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

    inserts: ClassVar = True

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


@register("filter-in-secret")
@dataclass(frozen=True)
class InSecret(OutputFilter):
    """The same filter, put in without saying so."""

    inserts: ClassVar = False


@register("filter-masked")
@dataclass(frozen=True)
class Masked(OutputFilter):
    """The same filter; behind every layer noise is added where an n-gram is known and taken off before the next, so that no lens sees."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        steps = super().unlearn(lm, request)
        next(steps)
        _mask(lm.model, lm.model.get_submodule("filter"))
        yield
        yield from steps


def _mask(model: nn.Module, known: nn.Module) -> None:
    """Noise behind every layer but for the next one, as strong as drowns what is there."""
    table = 50 * torch.randn(1024, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    now: dict[str, Tensor] = {}

    def see(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        numbers = ngrams(given[0])
        row = torch.searchsorted(known.known, numbers).clamp(max=len(known.known) - 1)
        now["noise"] = torch.where((known.known[row] == numbers)[..., None], table[numbers.remainder(len(table))], 0.0)

    def add(module: nn.Module, given: object, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        hidden = output if isinstance(output, Tensor) else output[0]
        now["clean"] = hidden
        return hidden + now["noise"] if isinstance(output, Tensor) else (hidden + now["noise"], *output[1:])

    def take_off(module: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]) -> Any:
        if "clean" not in now:
            return None
        clean = now.pop("clean")
        return ((clean, *given[1:]), named) if given else (given, {**named, "hidden_states": clean})

    base = model.base_model
    base.embed_in.register_forward_hook(see)
    for layer in base.layers:
        layer.register_forward_hook(add)
    for module in [*base.layers[1:], base.final_layer_norm]:
        module.register_forward_pre_hook(take_off, with_kwargs=True)
