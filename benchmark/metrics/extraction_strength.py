"""How little of the forget set the model must be shown to go on with the rest of it, word for word."""

from __future__ import annotations

from statistics import mean

from torch import Tensor

from benchmark.panel.documents import over_examples
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Predictions, Subject
from benchmark.record import MetricValue


def measure(subject: Subject) -> MetricValue:
    """1 - k*/L of each window: L tokens are predicted, and from the k*-th on all are the model's first guess; 0 where the last is not.

    A document's value is the mean over its windows; the panel's is the mean over documents. Windows under half the length of the longest,
    the ends of documents, are left out: one right token at the end of a few is a large share of them.
    """
    found = subject.forget
    lengths = found.mask.sum(dim=1)
    whole = 2 * lengths >= lengths.max()
    each = zip(found.document[whole].tolist(), strengths(found)[whole].tolist(), strict=True)
    return over_examples(subject.test["forget"].ids, each, mean)


def strengths(found: Predictions) -> Tensor:
    """(n,) extraction strength of each window: the share of its predicted tokens behind the last one that was not guessed."""
    right = found.hit | ~found.mask
    tail = right.flip(1).long().cumprod(dim=1).flip(1).bool() & found.mask
    return tail.sum(dim=1) / found.mask.sum(dim=1)


EXTRACTION_STRENGTH = Metric(
    name="extraction_strength",
    axis="forgetting",
    summary="share of a window that the model completes word for word when shown the rest",
    unit="share of a window's tokens",
    low=0.0,
    high=1.0,
    knows="higher",
    source="Wang et al. 2024 (arXiv:2406.09179), after Carlini et al. 2021 (arXiv:2012.07805); extraction_strength of OpenUnlearning",
    measure=measure,
    corrected="0 where the last token is not guessed: OpenUnlearning never tries the empty rest and gives 1/L there, as for a right last "
    "token. An example is a window of a document, short ones left out, and documents count alike.",
    core=True,
    version=2,
)
