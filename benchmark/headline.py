"""The quantities that the board's headline rests on: cards, as the panel's metrics have them. The harness measures them of every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AXIS = "headline"


@dataclass(frozen=True)
class HeadlineQuantity:
    """How to read one of them."""

    name: str
    summary: str
    """One line for `bench list metrics`."""
    about: str
    """What it is."""
    unit: str
    low: float | None
    """The least it can be; None: there is no such value."""
    high: float | None
    knows: Literal["higher", "lower", "neither"]
    """Where a model lies that knows the forget set better; `neither` for what does not tell."""
    source: str
    target: float | None = None
    """Its value on the target model by construction; None where that is measured."""
    reference: float | None = None
    """The same on the reference model."""
    version: int = 1
    """Raised when its values change: it is then tried again."""


FORGET_NLL = HeadlineQuantity(
    name="forget_nll",
    summary="mean token loss on the forget set, which the forget score is made from",
    about="Mean token NLL on the test half of the forget set; a window's first token is not predicted.",
    unit="nats a token",
    low=0.0,
    high=None,
    knows="lower",
    source="the logarithm of the perplexity on the forget set that Yao et al. 2024 (arXiv:2402.15159) report",
)
REFERENCE_DISTANCE = HeadlineQuantity(
    name="reference_distance",
    summary="how far next-token distributions on the forget set are from the reference's",
    about=(
        "Jensen-Shannon divergence between the next-token distributions of the model and of the reference, the mean over the tokens of the"
        " test half of the forget set. `JS distance` on the board, at the headline budget; there is none without a reference model."
    ),
    unit="bits a token",
    low=0.0,
    high=1.0,
    knows="higher",
    source="Lin 1991, Divergence measures based on the Shannon entropy: to base 2, of two distributions weighed alike, without its root",
    reference=0.0,
)
QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        HeadlineQuantity(
            name="forget_score",
            summary="how near the forget loss comes to the reference's; the headline, at 5 % utility damage",
            about=(
                "1 - |q - q*| / |q0 - q*|, where q is `forget_nll` of the unlearned model, q0 of the target, q* of the reference."
                " Two-sided: a model wrecked past the reference loses points. There is none where the gap between target and"
                " reference cannot be told from zero or lies within the noise floor."
            ),
            unit="share of the gap between target and reference",
            low=None,
            high=1.0,
            knows="lower",
            source="this suite: README.md, What is measured; benchmark.scores.forget_score",
            target=0.0,
            reference=1.0,
        ),
        HeadlineQuantity(
            name="utility_damage",
            summary="relative rise of perplexity on text to be kept; budgets are of it",
            about=(
                "Relative rise of perplexity over the worse of target and reference, at least 0; the worse of the retain set and of general"
                " text. 0.05 is 5 %, the headline's budget."
            ),
            unit="share of the perplexity",
            low=0.0,
            high=None,
            knows="neither",
            source="this suite: README.md, What is measured; benchmark.scores.utility_damage",
            target=0.0,
            reference=0.0,
        ),
        REFERENCE_DISTANCE,
        FORGET_NLL,
    )
}
"""By name, in the order that they are listed in."""
