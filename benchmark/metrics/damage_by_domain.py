"""Which of the kept domains paid for the forgetting."""

from __future__ import annotations

from collections import defaultdict

from benchmark.panel.metric import Metric
from benchmark.panel.rise import KeptDocument, kept_documents, worst_rise
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue


def measure(subject: Subject) -> MetricValue:
    """Perplexity rise of the retain and general documents of each domain (`benchmark.panel.rise`); the value is the worst domain's.

    Of a task on documents, the domain that they are of is among those: its other documents are to be kept.
    """
    domains: defaultdict[str, list[KeptDocument]] = defaultdict(list)
    for document in kept_documents(subject):
        domains[subject.domains[document.id]].append(document)
    return worst_rise(dict(sorted(domains.items())), of=list(domains))


DAMAGE_BY_DOMAIN = Metric(
    name="damage_by_domain",
    axis="utility",
    summary="perplexity rise of the kept domain that suffers most; by index, of each",
    unit="relative rise",
    low=-1.0,
    high=None,
    knows="neither",
    source="the cross-domain matrix of Pochinkov & Schoots 2024 (arXiv:2403.01267), section 4, over perplexity rather than top-1",
    measure=measure,
    core=True,
)
