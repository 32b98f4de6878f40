"""How many forget excerpts a careful membership attack finds: one that is seldom wrong about unseen text."""

from __future__ import annotations

from benchmark.metrics.membership import SIMPLE
from benchmark.panel.contrast import SETS, no_contrast, windows
from benchmark.panel.membership import FALSE_POSITIVES, FEWEST, true_positive_rate
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue

STRONGEST = "mia_min_k_plus_plus"
"""Of the attacks in `SIMPLE`, on the lab's target models: it finds 0.86 to 0.98 of the forget windows there."""


def measure(subject: Subject) -> MetricValue:
    """Share of forget windows that the attack of mia_min_k_plus_plus finds while it takes at most 5 % of the holdout windows for such.

    Windows, as 5 % of a few documents is less than one; there must be 20 of the holdout set. Those under half the length of the
    longest are left out (of forget and holdout set, the one whose longest is shorter counts). The bootstrap draws documents. By attack,
    the rates of mia_loss, mia_zlib and mia_min_k are there too. A model that never saw the text has about 0.05.
    """
    if reason := no_contrast(subject):
        return MetricValue(agg_value=None, reason=reason)
    shortest = (min(subject.test[name].passages.longest for name in SETS) + 1) // 2
    members, others = (list(windows(subject, name, shortest)) for name in SETS)
    count = sum(map(len, others))
    if count < FEWEST:
        return MetricValue(agg_value=None, reason=f"{count} holdout windows: {FALSE_POSITIVES:.0%} of them is less than one")
    rates = {
        name: true_positive_rate(*([[attack(window) for window in document] for document in side] for side in (members, others)))
        for name, attack in SIMPLE.items()
    }
    value, low, high = rates[STRONGEST]
    return MetricValue(
        agg_value=value,
        value_by_index={name: {"tpr": rate.value} for name, rate in rates.items()},
        interval=(low, high) if min(len(members), len(others)) > 1 else None,
    )


MIA_TPR = Metric(
    name="mia_tpr",
    axis="privacy",
    summary="share of forget windows that Min-K%++ finds at 5 % false positives",
    unit="share",
    low=0.0,
    high=1.0,
    knows="higher",
    source="Carlini et al. 2022 (arXiv:2112.03570), section 4: rates at few false positives",
    measure=measure,
    core=True,
)
