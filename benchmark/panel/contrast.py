"""Forget documents against holdout documents: what membership attacks are given, and how well they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from benchmark.measure import EvaluationText
from benchmark.panel.membership import membership_auc
from benchmark.panel.subject import Predictions, Subject
from benchmark.record import MetricValue

SETS = ("forget", "holdout")
"""Members, if the model knows them, and others."""


@dataclass(frozen=True)
class Example:
    """A document, or one window of it, as a model predicted it: tensors are (tokens,), float64, real tokens alone."""

    log_probability: Tensor
    """Of the token that is there, nats."""
    mean: Tensor
    """Expected log-probability of a token drawn from the prediction, nats."""
    deviation: Tensor
    """Standard deviation of that log-probability."""
    text: str


Attack = Callable[[Example], float]
"""A score of an example: the lower, the more it looks like a member."""


def no_contrast(subject: Subject) -> str | None:
    """Why no attack can be tried on this text; None where one can."""
    if subject.removes == "domain":
        return (
            "a whole domain must go: what is evaluated no model was trained on, and the holdout set is of other domains,"
            " so that an attack would tell domains apart, not members"
        )
    return None if "holdout" in subject.test else "no holdout set to tell the forget set from"


def told_apart(subject: Subject, attack: Attack) -> MetricValue:
    """How well an attack tells the test half's forget documents from its holdout documents: the AUC, and every document's score."""
    if reason := no_contrast(subject):
        return MetricValue(agg_value=None, reason=reason)
    members, others = ({id_: attack(example) for id_, example in documents(subject, name)} for name in SETS)
    return attacked(members, others)


def attacked(members: Mapping[str, float], others: Mapping[str, float]) -> MetricValue:
    """The AUC of scores by document; no interval where either set has but one."""
    value, low, high = membership_auc(list(members.values()), list(others.values()))
    return MetricValue(
        agg_value=value,
        value_by_index=scored(members, others),
        interval=(low, high) if min(len(members), len(others)) > 1 else None,
    )


def scored(members: Mapping[str, float], others: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Scores as they stand on record."""
    sides = ((members, 1.0), (others, 0.0))
    return {id_: {"score": score, "member": member} for scores, member in sides for id_, score in scores.items()}


def documents(subject: Subject, name: str) -> Iterator[tuple[str, Example]]:
    """Each document of a set's test half, with its id."""
    text, found = subject.test[name], _predictions(subject, name)
    for id_, rows in zip(text.ids, found.by_document(len(text.ids)), strict=True):
        yield id_, _example(found, text, rows, subject.lm.tokenizer)


def windows(subject: Subject, name: str, shortest: int) -> Iterator[list[Example]]:
    """The windows of each document that have at least `shortest` tokens; documents without one are left out."""
    text, found = subject.test[name], _predictions(subject, name)
    long_enough = text.passages.mask.sum(dim=1) >= shortest
    for rows in found.by_document(len(text.ids)):
        if chosen := [_example(found, text, row[None], subject.lm.tokenizer) for row in rows if long_enough[row]]:
            yield chosen


def texts(text: EvaluationText, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What is evaluated of each document, as text again."""
    return [_decoded(text, (text.passages.document == index).nonzero().flatten(), tokenizer) for index in range(len(text.ids))]


def _predictions(subject: Subject, name: str) -> Predictions:
    found = subject.forget if name == "forget" else subject.holdout
    assert found is not None  # there is a contrast
    return found


def _example(found: Predictions, text: EvaluationText, rows: Tensor, tokenizer: PreTrainedTokenizerBase) -> Example:
    mask = found.mask[rows]
    log_probability, mean, deviation = (values[rows][mask].double() for values in (found.log_probability, found.mean, found.deviation))
    return Example(log_probability, mean, deviation, _decoded(text, rows, tokenizer))


def _decoded(text: EvaluationText, rows: Tensor, tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(text.passages.ids[rows][text.passages.mask[rows]], clean_up_tokenization_spaces=False))
