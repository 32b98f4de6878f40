"""Whether the weights know the forget set still, and only a module that a method put into the model keeps it back."""

from __future__ import annotations

import torch

from benchmark.measure import measure as measured
from benchmark.model import LanguageModel
from benchmark.panel.documents import over_documents
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue


def measure(subject: Subject) -> MetricValue:
    """How much the mean token NLL of each forget document falls when inserted modules are taken out, in nats; the mean over documents.

    Positive: the text comes back. 0 where nothing was inserted. Adapters can be merged into the weights, and are none.

    Raises:
        Diverged: a loss is not finite.
    """
    before = subject.measured["forget"]
    weights = _weights_alone(subject)
    after = before if weights is None else measured(weights, {"forget": subject.test["forget"]})["forget"]
    each = zip(before.ids, before.nll, after.nll, before.tokens, strict=True)
    return over_documents({name: (loss - bare) / tokens for name, loss, bare, tokens in each})


@torch.no_grad()
def _weights_alone(subject: Subject) -> LanguageModel | None:
    """The target with the model's weights in the place of its own, where they go by the same names; None where the model has no other."""
    present = subject.lm.model.state_dict()
    if subject.untouched is None or any(".lora_" in name for name in present):
        return None
    lm = subject.untouched()
    own = lm.model.state_dict()
    if present.keys() <= own.keys():
        return None
    for name in own.keys() & present.keys():
        own[name].copy_(present[name])
    return lm


TAKEN_OUT = Metric(
    name="taken_out",
    axis="robustness",
    summary="how much the forget loss falls when modules that a method inserted are taken out",
    unit="nats a token",
    low=None,
    high=None,
    knows="neither",
    source="our own: whoever holds the weights can leave out what was put behind them",
    measure=measure,
)
