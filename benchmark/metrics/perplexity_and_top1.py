"""How well the model predicts text that is not to be forgotten, set by set."""

from __future__ import annotations

import math
from collections.abc import Callable

from benchmark.panel.documents import over_tokens
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue

SAYS = {
    "retain": "text of the same kind that is to be kept",
    "holdout": "text of the same kind that no model was trained on",
    "general": "all other text",
}


LARGEST = 700.0
"""Nats a token; exp of more is no number."""


def perplexity(name: str) -> Callable[[Subject], MetricValue]:
    """The perplexity on one evaluation set, to be measured."""

    def measure(subject: Subject) -> MetricValue:
        """exp of the summed token NLL of all documents over their number of predicted tokens; by index, of each document."""
        text = subject.measured.get(name)
        if text is None:
            return MetricValue(agg_value=None, reason=f"the task has no {name} set")
        return over_tokens(text.ids, text.nll, text.tokens, lambda nll: math.exp(min(LARGEST, nll)))

    return measure


def top1(name: str) -> Callable[[Subject], MetricValue]:
    """The next-token accuracy on one evaluation set, to be measured."""

    def measure(subject: Subject) -> MetricValue:
        """Tokens that were the model's first guess over all predicted tokens of all documents; by index, of each document."""
        text = subject.measured.get(name)
        if text is None:
            return MetricValue(agg_value=None, reason=f"the task has no {name} set")
        return over_tokens(text.ids, text.correct, text.tokens)

    return measure


def _perplexity(name: str) -> Metric:
    return Metric(
        name=f"{name}_perplexity",
        axis="utility",
        summary=f"perplexity on {SAYS[name]}",
        unit="perplexity",
        low=1.0,
        high=None,
        knows="neither",
        source="Jelinek et al. 1977; per token of the model's own tokenizer, so that it compares models of one tokenizer only",
        measure=perplexity(name),
        core=True,
    )


def _top1(name: str) -> Metric:
    return Metric(
        name=f"{name}_top1",
        axis="utility",
        summary=f"share of tokens guessed first on {SAYS[name]}",
        unit="share",
        low=0.0,
        high=1.0,
        knows="neither",
        source="Pochinkov & Schoots 2024 (arXiv:2403.01267), section 4",
        measure=top1(name),
        core=True,
    )


RETAIN_PERPLEXITY, HOLDOUT_PERPLEXITY, GENERAL_PERPLEXITY = map(_perplexity, SAYS)
RETAIN_TOP1, HOLDOUT_TOP1, GENERAL_TOP1 = map(_top1, SAYS)
