"""Telling texts apart without a model: by hand, against retraining for every pair, and on texts that are or are not alike."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from conftest import documents

from benchmark import LanguageModel, registry
from benchmark.corpus import Document
from benchmark.measure import EvaluationText
from benchmark.panel.membership import separable
from benchmark.panel.ngrams import RIDGE, inverse_kernel, leave_pairs_out, similarity
from benchmark.panel.subject import Subject
from benchmark.passages import passages
from benchmark.record import MetricValue

BLIND = ("blind_ngrams", "blind_zlib")


def value(name: str, subject: Subject) -> MetricValue:
    return registry.metric(name).measure(subject)


def test_similarity_by_hand() -> None:
    # of 2 texts, a gram in one weighs 1 + ln(3/2), one in both 1; "a" occurs twice in the first
    rare, twice = 1 + np.log(1.5), 1 + np.log(2)
    first = {"a": twice, "b": rare, "a a": rare, "a b": rare}
    second = {"a": 1, ")": rare, "a )": rare}
    lengths = [np.sqrt(sum(np.square(list(vector.values())))) for vector in (first, second)]
    found = similarity(["a a b", "a)"])
    assert found == pytest.approx(np.array([[1, twice / np.prod(lengths)], [twice / np.prod(lengths), 1]]))


def test_a_text_of_nothing_is_like_no_other() -> None:
    assert similarity(["a b", "  "])[0, 1] == 0


def test_pairs_left_out_are_as_if_trained_without() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(9, 4))
    points[:4, 0] += 1
    first = np.arange(9) < 4
    found = leave_pairs_out(inverse_kernel(points @ points.T), first)
    centred, label = points - points.mean(axis=0), first - first.mean()
    right, scores = 0.0, {index: [] for index in range(9)}
    for one, two in itertools.product(range(4), range(4, 9)):
        rest = [index for index in range(9) if index not in (one, two)]
        x = centred[rest]
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(4), x.T @ label[rest])
        right += centred[one] @ weights > centred[two] @ weights
        for index in (one, two):
            scores[index].append(centred[index] @ weights)
    assert found.auc == right / 20
    assert found.scores == pytest.approx(np.array([np.mean(scores[index]) for index in range(9)]))


def test_is_fair_where_there_is_nothing_to_tell() -> None:
    """Leaving out one text at a time is not: what is left leans to the other kind, and the AUC falls far below 0.5."""
    rng = np.random.default_rng(0)
    first = np.arange(12) < 6
    found = []
    for _ in range(300):
        points = rng.normal(size=(12, 30))
        found.append(leave_pairs_out(inverse_kernel(points @ points.T), first).auc)
    assert np.mean(found) == pytest.approx(0.5, abs=4 * np.std(found) / np.sqrt(300))


def side(name: str, half: int, topic: str, count: int, seed: int = 0) -> list[Document]:
    """Documents of one set and half, of their own."""
    return [
        Document(f"{name}-{half}-{document.id}", document.text)
        for document in documents(topic, count, 4 * seed + 2 * half + (name == "holdout"))
    ]


def on(tokenizer: Any, forget: str, holdout: str, count: int = 12, seed: int = 0) -> Subject:
    """Made-up documents of two topics, in both halves, and no model."""
    halves = []
    for half in (0, 1):
        sides = {name: side(name, half, topic, count, seed) for name, topic in (("forget", forget), ("holdout", holdout))}
        halves.append({name: EvaluationText(tuple(d.id for d in some), passages(some, tokenizer, 32)) for name, some in sides.items()})
    lm, nothing = cast("LanguageModel", SimpleNamespace(tokenizer=tokenizer)), cast("Any", None)
    return Subject(lm, *halves, nothing, None, nothing)


def test_topics_are_told_apart_without_a_model(tokenizer: Any) -> None:
    found = value("blind_ngrams", on(tokenizer, "forget", "retain"))
    assert found.agg_value == 1
    assert separable(found)
    assert len(found.value_by_index) == 48  # both halves


@pytest.mark.parametrize("name", BLIND)
def test_documents_of_one_kind_are_seldom_told_apart(name: str, tokenizer: Any) -> None:
    wrong = sum(separable(value(name, on(tokenizer, "general", "general", 5, seed))) for seed in range(20))
    assert wrong <= 3  # of 20 at 5 %, more are three times in two hundred


def test_zlib_is_bytes_a_character_of_what_is_evaluated(tokenizer: Any) -> None:
    subject = on(tokenizer, "forget", "retain", 3)
    found = value("blind_zlib", subject)
    for half, (name, topic) in itertools.product((0, 1), (("forget", "forget"), ("holdout", "retain"))):
        for document in side(name, half, topic, 3):
            expected = len(zlib.compress(document.text.encode())) / len(document.text)
            assert found.value_by_index[document.id] == {"score": pytest.approx(expected, abs=0.02), "member": float(name == "forget")}


def test_whichever_side_compresses_better_is_told_apart(tokenizer: Any) -> None:
    subject = on(tokenizer, "forget", "retain")
    turned = {"forget": subject.test["holdout"], "holdout": subject.test["forget"]}
    straight, other = (value("blind_zlib", replace(subject, validation=half, test=half)) for half in (subject.test, turned))
    assert straight.agg_value is not None
    assert other.agg_value == pytest.approx(1 - straight.agg_value)
