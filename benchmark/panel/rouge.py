"""ROUGE-L: how much of one text's words another has, in the same order."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


class RougeL(NamedTuple):
    """The longest common subsequence of words, as a share."""

    recall: float
    """Of the truth's words."""
    f1: float
    """Harmonic mean of that and the share of the words written."""


def rouge_l(truth: str, written: str) -> RougeL:
    """Lin 2004, section 3, on lower-case runs of letters a to z and digits, each stemmed (Porter); 0 where a text has none."""
    found = _scorer().score(truth, written)["rougeL"]
    return RougeL(found.recall, found.fmeasure)


@cache
def _scorer() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer  # a second's import, for those who ask for it

    return RougeScorer(["rougeL"], use_stemmer=True)
