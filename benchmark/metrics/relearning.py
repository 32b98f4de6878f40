"""How fast the forget set comes back when the model is trained a little more: soon where it is only hidden, late where it is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from benchmark import scores
from benchmark.losses import cross_entropy
from benchmark.measure import evaluating, measure
from benchmark.memory.plan import MemoryPlan, size_of
from benchmark.method import Unsupported
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.passages import Passages
from benchmark.record import Documents, MetricValue
from benchmark.training import descend

STEPS = (0, 1, 2, 4, 8, 16, 24)
"""Optimiser steps after which the forget loss is measured."""

BATCH = 8
"""Windows a step."""

REACH = 0.0256
"""Learning rate times hidden size: wider models want smaller steps of Adam (Yang et al. 2022, arXiv:2203.03466). 2e-4 in the lab, of
the rates tried there the one that brings most back; 2.5e-5 for 1024 dimensions, 6e-6 for 4096."""


def relearn(subject: Subject, text: Passages) -> MetricValue:
    """Steps of training on a text until half the knowledge of the forget set is back.

    AdamW as in `benchmark.training.descend` (constant learning rate `REACH` / hidden size, gradients clipped to norm 1, no weight
    decay, dropout off, every weight trained, in float32 whatever the model's precision), `BATCH` windows a step, the same ones in the
    same order for every model. After each of `STEPS` the mean token NLL is measured on the test half of the forget set. Half is back
    where it is down at the mean of what target and reference have there; between two measurements the loss is taken to run
    straight. 0: it was never away. The last of `STEPS`: not back by then, or just then, as `recovered` of `half` tells. Of a model
    that is just past half the curve tells more than the count: any fall brings it back.

    The interval is a bootstrap over documents, of model, target and reference together; there is none where nothing was trained. There
    is no value where target and reference cannot be told apart (`benchmark.scores.has_gap`), nor where training does not fit into
    memory: it takes 16 bytes a parameter beside the model and its activations (a copy to come back to, the gradient and AdamW's
    two moments), of a model in bfloat16 20.

    Raises:
        Diverged: a loss is not finite.
    """
    baseline = subject.baseline
    if not scores.has_gap(baseline):
        return MetricValue(agg_value=None, reason="target and reference cannot be told apart on the forget set: no knowledge to come back")
    target, reference = baseline.target_test["forget"], baseline.reference_test["forget"]
    half = (target.mean_nll + reference.mean_nll) / 2
    losses = [subject.measured["forget"]]
    if losses[0].mean_nll > half:
        try:
            losses += _attack(subject, text)
        except Unsupported as reason:
            return MetricValue(agg_value=None, reason=str(reason))
    curve = [documents.mean_nll for documents in losses]
    by_index = {f"step {step}": {"nll": nll} for step, nll in zip(STEPS, curve, strict=False)}
    by_index["half"] = {"nll": half, "recovered": float(min(curve) <= half)}
    if len(losses) == 1:
        return MetricValue(agg_value=0.0, value_by_index=by_index)
    interval = _interval(losses, target, reference)
    return MetricValue(agg_value=float(steps_until(curve, half)), value_by_index=by_index, interval=interval)


def steps_until(curve: ArrayLike, level: ArrayLike) -> NDArray[np.float64]:
    """Steps until a loss, measured after each of `STEPS` (along the first axis), is first at a level or below; the last if it never is."""
    losses, at_most = np.asarray(curve, dtype=np.float64), np.asarray(level, dtype=np.float64)
    below = losses <= at_most
    at = np.where(below.any(axis=0), below.argmax(axis=0), len(STEPS) - 1)
    before = np.maximum(at - 1, 0)
    steps = np.asarray(STEPS, dtype=np.float64)
    above, reached = (np.take_along_axis(losses, index[None], axis=0)[0] for index in (before, at))
    share = np.divide(above - at_most, above - reached, out=np.ones_like(above), where=above - reached > 0)
    return np.asarray(steps[before] + np.clip(share, 0.0, 1.0) * (steps[at] - steps[before]))


def _attack(subject: Subject, text: Passages) -> list[Documents]:
    """The test half of the forget set after each of `STEPS` but the first.

    Raises:
        Unsupported: there is no room for training.
    """
    plan = MemoryPlan(subject.lm.plan.limit, subject.lm.plan.activations, subject.lm.plan.devices)  # the cell's own is for its record
    plan.parts["weights"] = size_of(subject.lm.model)
    if reason := plan.hold(second_model=size_of(subject.lm.model)):
        raise Unsupported(reason)
    forget = {"forget": subject.test["forget"]}
    with subject.altered() as lm, evaluating(lm.model), torch.enable_grad():
        for parameter in lm.model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        found = []
        lr = REACH / lm.model.config.hidden_size
        attacker = replace(lm, plan=plan)
        run = descend(attacker, partial(cross_entropy, attacker), (text,), lr=lr, steps=STEPS[-1], batch=BATCH, seed=0)
        for step, _ in enumerate(run, start=1):
            if step in STEPS:
                found.append(measure(lm, forget)["forget"])
    return found


def _interval(losses: Sequence[Documents], target: Documents, reference: Documents) -> tuple[float, float]:
    """Percentile bootstrap of `steps_until` half over documents; those of the reference are others where it is only approximated."""
    rng = np.random.default_rng(0)
    rows = rng.integers(len(target.ids), size=(scores.RESAMPLES, len(target.ids)))
    others = rows if reference.ids == target.ids else rng.integers(len(reference.ids), size=(scores.RESAMPLES, len(reference.ids)))
    half = (scores.resampled_nll(target, rows) + scores.resampled_nll(reference, others)) / 2
    return scores.percentiles(steps_until([scores.resampled_nll(documents, rows) for documents in losses], half))


def measure_forget(subject: Subject) -> MetricValue:
    """`relearn` from the validation half of the forget set: other documents than those measured."""
    return relearn(subject, subject.validation["forget"].passages)


def measure_retain(subject: Subject) -> MetricValue:
    """`relearn` from the text to be kept that methods see, nothing of the forget set."""
    return relearn(subject, subject.retain)


def measure_general(subject: Subject) -> MetricValue:
    """`relearn` from general text, nothing of the forget set; no value where the task has none."""
    if subject.general is None:
        return MetricValue(agg_value=None, reason="there is no general text")
    return relearn(subject, subject.general)


def _card(name: str, text: str, source: str, measure: Callable[[Subject], MetricValue]) -> Metric:
    return Metric(
        name=name,
        axis="robustness",
        summary=f"steps of training on {text} that bring half the knowledge back",
        unit=f"steps, {STEPS[-1]} for more",
        low=0.0,
        high=float(STEPS[-1]),
        knows="lower",
        source=source,
        measure=measure,
    )


RELEARN_FORGET = _card(
    "relearn_forget",
    "other forget documents",
    "Deeb & Roger 2024 (arXiv:2410.08827), section 3: retraining on T, disjoint from the V that is measured",
    measure_forget,
)
RELEARN_RETAIN = _card(
    "relearn_retain",
    "text to be kept",
    "benign fine-tuning, arXiv:2505.22310",
    measure_retain,
)
RELEARN_GENERAL = _card(
    "relearn_general",
    "general text",
    "benign fine-tuning, arXiv:2505.22310",
    measure_general,
)
