"""What a task's models are measured on, and the baseline that they are judged against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from benchmark import scores
from benchmark.measure import EvaluationText, divergence, evaluation_text, measure
from benchmark.model import LanguageModel
from benchmark.record import Baseline, Measurement, Protocol
from benchmark.splits import EVALUATION_SETS, Splits

Half = Mapping[str, EvaluationText]

JUDGED = ("forget", *scores.KEPT)
"""Sets that the steps of a trajectory are measured on; operating points are measured on all."""


class Judgement(NamedTuple):
    """A validation measurement, judged."""

    nll: dict[str, float]
    top1: dict[str, float]
    damage: float
    score: float | None
    """Forget score; None where there is no gap to score."""
    difference: float
    """Relative top-1 drop on forget minus that on retain."""


@dataclass(frozen=True)
class Evaluation:
    """The evaluation text of a task for one tokenizer, and target and reference measured on it."""

    removes: Literal["documents", "domain"]
    validation: Half
    test: Half
    baseline: Baseline
    target_distances: dict[str, float] | None
    """Of the target, as `distances`; None where there is no reference model."""

    @cached_property
    def scored(self) -> bool:
        """Whether forget scores mean anything here."""
        return scores.has_gap(self.baseline)

    def judge(self, lm: LanguageModel) -> Judgement:
        """Measure a model on the validation half, and judge it.

        Raises:
            Diverged: a loss is not finite.
        """
        return self._judged(measure(lm, {name: text for name, text in self.validation.items() if name in JUDGED}))

    @cached_property
    def untouched(self) -> Judgement:
        """The target as it was measured already, judged."""
        return self._judged({name: documents for name, documents in self.baseline.target_validation.items() if name in JUDGED})

    def _judged(self, measured: Measurement) -> Judgement:
        target, reference = self.baseline.target_validation, self.baseline.reference_validation
        nll, top1 = scores.means(measured), scores.accuracies(measured)
        score = None
        if self.scored:
            score = scores.forget_score(nll["forget"], target["forget"].mean_nll, reference["forget"].mean_nll)
        return Judgement(
            nll,
            top1,
            scores.utility_damage(nll, scores.means(target), scores.means(reference)),
            score,
            scores.top1_difference(top1, scores.accuracies(target)),
        )

    def distances(self, lm: LanguageModel, reference: LanguageModel) -> dict[str, float]:
        """Jensen-Shannon distance to the reference model on the test half of the forget set, bits a token, by set."""
        return _distances(lm, reference, self.test)


def _distances(lm: LanguageModel, reference: LanguageModel, test: Half) -> dict[str, float]:
    return {"forget": divergence(lm, reference, test["forget"])}


def evaluate_baseline(
    target: LanguageModel,
    reference: LanguageModel | None,
    splits: Splits,
    removes: Literal["documents", "domain"],
    protocol: Protocol,
    noise_floor: float | None,
) -> Evaluation:
    """Tokenise the evaluation sets and measure target and reference on them.

    Without a reference model, the target's behaviour on the holdout set stands for the reference's on the forget set
    (Yao et al. 2024); where there is none, or a whole domain must go and its holdout is the forget set itself, nothing can stand in.
    """
    halves = []
    for half, most in (("validation", protocol.validation_tokens), ("test", protocol.test_tokens)):
        documents = {
            name: getattr(splits.evaluation[name], half)[: protocol.limit] for name in EVALUATION_SETS if name in splits.evaluation
        }
        halves.append({name: evaluation_text(target, chosen, most) for name, chosen in documents.items()})
    validation, test = halves
    measured = [measure(target, validation), measure(target, test)]
    kind: Literal["exact", "approximate", "none"]
    references: list[Measurement]
    if reference is not None:
        kind, references = "exact", [measure(reference, validation), measure(reference, test)]
    elif removes == "documents" and "holdout" in validation:
        kind, references = "approximate", [{"forget": half["holdout"]} for half in measured]
    else:
        kind, references = "none", [{}, {}]
    baseline = Baseline(
        reference_kind=kind,
        target_validation=measured[0],
        target_test=measured[1],
        reference_validation=references[0],
        reference_test=references[1],
        noise_floor=noise_floor,
    )
    return Evaluation(removes, validation, test, baseline, None if reference is None else _distances(target, reference, test))
