"""How well the model predicts each window of the forget set: a mean may hide that some are known as before, and others overshot."""

from __future__ import annotations

from statistics import mean

from benchmark.panel.documents import over_examples
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue


def measure(subject: Subject) -> MetricValue:
    """Mean token NLL of the windows of each document, in nats; the mean over documents. Told by window.

    Windows under half the length of the longest are left out.
    """
    found = subject.forget
    lengths = found.mask.sum(dim=1)
    nll = -(found.log_probability.double().sum(dim=1) / lengths)
    whole = [index for index, length in enumerate(lengths.tolist()) if 2 * length >= int(lengths.max())]
    each = [(int(found.document[index]), float(nll[index])) for index in whole]
    value = over_examples(subject.test["forget"].ids, each, mean)
    return value.model_copy(update={"value_by_index": {f"window {index}": {"nll": float(nll[index])} for index in whole}})


WINDOW_NLL = Metric(
    name="window_nll",
    axis="forgetting",
    summary="loss of the forget set, window by window",
    unit="nats a token",
    low=0.0,
    high=None,
    knows="lower",
    source="our own; what the forget score is the mean of",
    measure=measure,
    core=True,
)
