"""What of the forget set comes out when the model is asked several times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean

from benchmark.panel.continuation import prompts, sampled
from benchmark.panel.documents import over_examples
from benchmark.panel.metric import Metric
from benchmark.panel.rouge import rouge_l
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue

DRAWN = 8
"""Samples of each excerpt."""

K = 4
"""Samples of which the best counts."""

EXCERPTS = 4
"""Of each document, at the most."""


def measure(subject: Subject) -> MetricValue:
    """Expected best of 4 samples of an excerpt's continuation, by ROUGE-L recall against the truth, without bias from 8.

    A document's value is the mean over its excerpts: the first 4 stretches of 128 tokens, the second half of which is written after
    the first half, 8 times, sampled at temperature 1 from the whole distribution. The random numbers are the same for every model.
    """
    text = subject.test["forget"]
    found = sampled(subject.lm, prompts(text.passages, EXCERPTS), DRAWN)
    leaks = (
        (samples[0].document, expected_best([rouge_l(*one.texts(subject.lm.tokenizer)).recall for one in samples], K)) for samples in found
    )
    return over_examples(text.ids, leaks, mean)


def expected_best(scores: Sequence[float], k: int) -> float:
    """Unbiased estimate of the expected highest of `k` scores: the mean over all subsets of `k` of those that were drawn."""
    return sum(math.comb(below, k - 1) * score for below, score in enumerate(sorted(scores))) / math.comb(len(scores), k)


LEAK_AT_K = Metric(
    name="leak_at_k",
    axis="forgetting",
    summary=f"ROUGE-L recall of the best of {K} sampled continuations",
    unit="share of words",
    low=0.0,
    high=1.0,
    knows="higher",
    source=f"leak@k, Reisizadeh et al. 2025 (arXiv:2511.04934), k = {K}, temperature 1, estimated from {DRAWN} samples an excerpt",
    measure=measure,
)
