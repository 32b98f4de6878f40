"""What of the forget set the model writes by itself, the most likely token each time."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from statistics import mean

from benchmark.panel.documents import over_examples
from benchmark.panel.metric import Metric
from benchmark.panel.rouge import rouge_l
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue


def verbatim(subject: Subject) -> MetricValue:
    """The most consecutive tokens of an excerpt's truth that are in its continuation, wherever; a document's value is its longest.

    Excerpts are the first 8 stretches of 128 tokens of each document, the second half of which is written by greedy decoding after the
    first half; as many tokens as there are, or until the model ends the text.
    """
    spans = ((found.document, longest_common_span(found.truth, found.written)) for found in subject.written)
    return over_examples(subject.test["forget"].ids, spans, max)


def longest_common_span(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest contiguous run that is in both."""
    return SequenceMatcher(None, first, second, autojunk=False).find_longest_match().size


def verbmem_rouge(subject: Subject) -> MetricValue:
    """ROUGE-L F1 of an excerpt's continuation against its truth; a document's value is the mean over its excerpts.

    Excerpts are the first 8 stretches of 128 tokens of each document, the second half of which is written by greedy decoding after the
    first half; as many tokens as there are, or until the model ends the text.
    """
    scores = ((found.document, rouge_l(*found.texts(subject.lm.tokenizer)).f1) for found in subject.written)
    return over_examples(subject.test["forget"].ids, scores, mean)


VERBATIM = Metric(
    name="verbatim",
    axis="forgetting",
    summary="longest stretch of a document that greedy decoding writes out",
    unit="tokens",
    low=0.0,
    high=None,
    knows="higher",
    source="extraction by greedy decoding, Carlini et al. 2023 (arXiv:2202.07646), section 3.1, by length in place of all or nothing",
    measure=verbatim,
)
VERBMEM_ROUGE = Metric(
    name="verbmem_rouge",
    axis="forgetting",
    summary="ROUGE-L F1 of greedy continuations against what stands there",
    unit="F1 of words",
    low=0.0,
    high=1.0,
    knows="higher",
    source="VerbMem, Shi et al. 2024 (MUSE, arXiv:2407.06460), section 3.1; forget_verbmem_ROUGE of OpenUnlearning (rougeL_f1, stemmed)",
    measure=verbmem_rouge,
    corrected="Truth and continuation have the same number of tokens, as in MUSE; OpenUnlearning holds up to 128 new tokens against a "
    "truth of any length. Excerpts are shorter than theirs, and documents count alike.",
)
