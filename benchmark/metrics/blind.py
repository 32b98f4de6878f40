"""Can the forget documents be told from the holdout documents without any model? Then a membership attack proves nothing."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.panel.contrast import SETS, no_contrast, scored, texts
from benchmark.panel.membership import auc, by_chance
from benchmark.panel.metric import Metric
from benchmark.panel.ngrams import inverse_kernel, leave_pairs_out, similarity
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue

Labels = NDArray[np.bool_]


def measure_ngrams(subject: Subject) -> MetricValue:
    """The chance that a classifier of words and pairs of words takes the forget document of a pair for it (AUC).

    A pair is a forget and a holdout document, which the classifier, a ridge regression on TF-IDF vectors, was not trained on; ties
    count half. All documents of both halves are in it, cut as models are measured on them: nothing is chosen by them here. The
    interval contains 0.5 unless 97.5 % of 999 shuffles of the labels give an AUC less far out: a few documents are told
    apart by chance more often than a bootstrap over them says.
    """
    if reason := no_contrast(subject):
        return MetricValue(agg_value=None, reason=reason)
    ids, given, member = _all_documents(subject)
    inverse = inverse_kernel(similarity(given))
    found = leave_pairs_out(inverse, member)
    return _value(ids, member, -found.scores, found.auc, lambda labels: leave_pairs_out(inverse, labels).auc)


def measure_zlib(subject: Subject) -> MetricValue:
    """The chance that a forget document takes fewer bytes a character when zlib has compressed it than a holdout document does (AUC).

    Documents, ties and interval are as of blind_ngrams.
    """
    if reason := no_contrast(subject):
        return MetricValue(agg_value=None, reason=reason)
    ids, given, member = _all_documents(subject)
    scores = np.array([len(zlib.compress(text.encode())) / max(1, len(text)) for text in given])
    return _value(ids, member, scores, auc(scores, member), lambda labels: auc(scores, labels))


def _all_documents(subject: Subject) -> tuple[list[str], list[str], Labels]:
    """Ids and texts of both sets, both halves, and which are forget documents."""
    ids: list[str] = []
    given: list[str] = []
    member: list[bool] = []
    for name in SETS:
        for half in (subject.validation, subject.test):
            ids += half[name].ids
            given += texts(half[name], subject.lm.tokenizer)
            member += [name == "forget"] * len(half[name].ids)
    return ids, given, np.array(member)


def _value(ids: Sequence[str], member: Labels, scores: NDArray[np.float64], found: float, attack: Callable[[Labels], float]) -> MetricValue:
    by_id: list[Mapping[str, float]] = [
        {id_: float(score) for id_, score, inside in zip(ids, scores, member, strict=True) if inside == wanted} for wanted in (True, False)
    ]
    return MetricValue(agg_value=found, value_by_index=scored(*by_id), interval=by_chance(found, attack, member))


BLIND_NGRAMS = Metric(
    name="blind_ngrams",
    axis="validity",
    summary="AUC of telling forget from holdout documents by their words, without any model",
    unit="AUC",
    low=0.0,
    high=1.0,
    knows="neither",
    source="blind baselines: Das et al. 2024 (arXiv:2406.16201); Meeus et al. 2024 (arXiv:2406.17975), section 4",
    measure=measure_ngrams,
    core=True,
)

BLIND_ZLIB = Metric(
    name="blind_zlib",
    axis="validity",
    summary="AUC of telling forget from holdout documents by how well they compress, without any model",
    unit="AUC",
    low=0.0,
    high=1.0,
    knows="neither",
    source="blind baselines: Das et al. 2024 (arXiv:2406.16201), with the compression of mia_zlib",
    measure=measure_zlib,
    core=True,
)
