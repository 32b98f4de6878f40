"""How many tokens of the forget set the model predicts."""

from __future__ import annotations

from benchmark.panel.documents import over_documents
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue


def measure(subject: Subject) -> MetricValue:
    """Share of each document's tokens, the text before them given, that are the model's first guess; the mean over documents."""
    found = subject.forget
    ids = subject.test["forget"].ids
    return over_documents(
        {id_: float(found.hit[rows].sum() / found.mask[rows].sum()) for id_, rows in zip(ids, found.by_document(len(ids)), strict=True)}
    )


EXACT_MEMORIZATION = Metric(
    name="exact_memorization",
    axis="forgetting",
    summary="share of forget tokens that are the model's first guess",
    unit="share",
    low=0.0,
    high=1.0,
    knows="higher",
    source="Tirumala et al. 2022 (arXiv:2205.10770), section 2; exact_memorization of OpenUnlearning",
    measure=measure,
    core=True,
)
