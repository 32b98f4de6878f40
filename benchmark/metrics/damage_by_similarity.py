"""Whether what is most like the forgotten text paid most."""

from __future__ import annotations

import numpy as np

from benchmark.measure import EvaluationText
from benchmark.panel.metric import Metric
from benchmark.panel.rise import kept_documents, worst_rise
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue
from benchmark.scores import KEPT

RUN = 3
"""Tokens of an n-gram. On the lab, pairs are shared by texts that have nothing in common, and runs of five by too few to sort by."""

BINS = ("far", "middle", "near")

FEWEST = 2
"""Documents of a bin: one gives no interval."""


def measure(subject: Subject) -> MetricValue:
    """Perplexity rise (`benchmark.panel.rise`) of kept documents by their similarity to the forget set; the value is the nearest third's.

    A document's similarity is the share of its distinct runs of `RUN` tokens, none across two windows, that are in the forget
    set (both halves of its evaluation text). The documents of the retain and general sets are put in its order, equals in the
    order of their ids, and cut into thirds `far`, `middle`, `near`, sizes differing by one at most, the nearer ones no larger. Of
    each stands also the mean `similarity`. The value is the near third's and not near minus far: a model that is destroyed
    everywhere alike has no difference to show.
    """
    similar = similarities(subject)
    documents = sorted(kept_documents(subject), key=lambda document: (similar[document.id], document.id))
    if len(documents) < FEWEST * len(BINS):
        return MetricValue(agg_value=None, reason=f"{len(documents)} kept documents; {FEWEST * len(BINS)} are needed for thirds")
    thirds = [[documents[index] for index in part] for part in np.array_split(np.arange(len(documents)), len(BINS))]
    bins = dict(zip(BINS, thirds, strict=True))
    value = worst_rise(bins, of=["near"])
    means = {name: float(np.mean([similar[document.id] for document in bin_])) for name, bin_ in bins.items()}
    found = {name: {**each, "similarity": means[name]} for name, each in value.value_by_index.items()}
    return value.model_copy(update={"value_by_index": found})


def similarities(subject: Subject) -> dict[str, float]:
    """The share of each kept document's runs that are in the forget set, in [0, 1], by id; a property of the text alone."""
    forgotten = frozenset[tuple[int, ...]]().union(*runs(subject.validation["forget"]), *runs(subject.test["forget"]))
    return {
        id_: len(own & forgotten) / max(1, len(own))
        for name in KEPT
        if name in subject.test
        for id_, own in zip(subject.test[name].ids, runs(subject.test[name]), strict=True)
    }


def runs(text: EvaluationText) -> list[set[tuple[int, ...]]]:
    """The distinct runs of `RUN` tokens of each document."""
    found: list[set[tuple[int, ...]]] = [set() for _ in text.ids]
    passages = text.passages
    for ids, length, document in zip(passages.ids.tolist(), passages.mask.sum(dim=1).tolist(), passages.document.tolist(), strict=True):
        found[document].update(tuple(ids[start : start + RUN]) for start in range(length - RUN + 1))
    return found


DAMAGE_BY_SIMILARITY = Metric(
    name="damage_by_similarity",
    axis="utility",
    summary="perplexity rise of the third of the kept documents that is most like the forget set; by index, of each third",
    unit="relative rise",
    low=-1.0,
    high=None,
    knows="neither",
    source="the suite's own; neighbours of what is forgotten are what RWKU (arXiv:2406.10890), section 3.3, and TOFU's retain set watch",
    measure=measure,
    core=True,
)
