"""Selective pruning: zero the neurons that the forget set uses most, relative to the text to be kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmark import (
    Importance,
    Kept,
    LanguageModel,
    Request,
    UnlearningMethod,
    Where,
    check_choice,
    check_fraction,
    check_positive,
    highest,
    neurons_of,
    register,
    selectivity,
    some_windows,
    undescribed,
)


@register("selective-pruning")
@register("selective-pruning-attention", where="attention", importance="abs", kept="both", eps=1e-4)
@dataclass(frozen=True)
class SelectivePruning(UnlearningMethod):
    """Prune neurons by importance on forget text over importance on kept text. Pochinkov & Schoots 2024 (arXiv:2403.01267).

    score = importance(forget) / (importance(kept) + eps), measured again before every step. Each step prunes the neurons with
    the highest scores of the whole model, feed-forward and attention ranked apart, until none is left.

    The importance functions are the paper's. The authors' code takes the unbiased variance where the paper says standard
    deviation, in `std` and in `rms`: what it computes is here as `std-as-coded` and `rms-as-coded`.
    """

    where: Where = "feed-forward"
    """Neurons to prune: `feed-forward`, `attention`, or `both`, each ranked by itself."""
    importance: Importance = "rms"
    """`abs` E|z|, `rms` sqrt(E z^2), `freq` P(z > 0) or `std` of the activation z over tokens; `std-as-coded` var(z),
    `rms-as-coded` sqrt(var(z)^2 + (E z)^2)."""
    step: float = 0.01
    """Fraction of the original neurons pruned each step."""
    iterative: bool = True
    """Measure again before every step; otherwise once, on the untouched model."""
    eps: float = 1e-3
    """Keeps the score of a neuron unused on kept text finite."""
    tokens: int = 10_000
    """Tokens of forget text, and of kept text, that importance is measured on; 100,000 in the paper."""
    kept: Kept = "retain"
    """Text to spare: in-distribution (`retain`), `general`, or `both`."""

    search: ClassVar = {"importance": ("abs", "rms", "freq"), "kept": ("retain", "both")}

    def __post_init__(self) -> None:
        check_choice("where", self.where, Where)
        check_choice("importance", self.importance, Importance)
        check_choice("kept", self.kept, Kept)
        check_fraction("step", self.step)
        check_positive("eps", self.eps)
        check_positive("tokens", self.tokens)

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Needs to know where the neurons are."""
        return undescribed(lm.model)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every slice of neurons."""
        generator = torch.Generator().manual_seed(request.seed)
        forget = some_windows(request.forget, self.tokens, generator)
        kept = some_windows(request.kept(self.kept), self.tokens, generator)
        parts = neurons_of(lm, self.where)
        scores: list[Tensor] = []
        while any(part.alive.any() for part in parts):
            if self.iterative or not scores:
                scores = selectivity(lm, forget, kept, parts, self.importance, eps=self.eps)
            for part, score in zip(parts, scores, strict=True):
                part.prune(highest(score, part.alive, self.step))
            yield
