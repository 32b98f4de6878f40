"""A model on trial, with made-up text: what a metric is given."""

from __future__ import annotations

import dataclasses

from conftest import documents

from benchmark import LanguageModel
from benchmark.measure import evaluation_text, measure
from benchmark.panel.subject import Subject
from benchmark.record import Baseline, Documents, Measurement


def harder(measured: Measurement, by: float) -> Measurement:
    """With so many nats a token more."""

    def raised(of: Documents) -> Documents:
        return of.model_copy(update={"nll": tuple(nll + by * tokens for nll, tokens in zip(of.nll, of.tokens, strict=True))})

    return {name: raised(of) for name, of in measured.items()}


def subject_of(lm: LanguageModel, target: LanguageModel | None = None, gap: float = 1.0) -> Subject:
    """Six forget documents a half, others to be kept. Target is the model itself where none is given; the reference `gap` nats above it."""
    halves = [{"forget": evaluation_text(lm, documents("forget", 6, seed), 10_000)} for seed in (1, 2)]
    known = [measure(target or lm, half) for half in halves]
    baseline = Baseline(
        reference_kind="exact",
        target_validation=known[0],
        target_test=known[1],
        reference_validation=harder(known[0], gap),
        reference_test=harder(known[1], gap),
        noise_floor=None,
    )
    return Subject(lm, halves[0], halves[1], lm.passages(documents("retain", 12)), lm.passages(documents("general", 12)), baseline)


def forgetting(lm: LanguageModel, gap: float) -> Subject:
    """As good as the reference; the target is so many nats a token better."""
    subject = subject_of(lm, gap=0.0)
    known = {f"target_{half}": harder(getattr(subject.baseline, f"target_{half}"), -gap) for half in ("test", "validation")}
    return dataclasses.replace(subject, baseline=subject.baseline.model_copy(update=known))
