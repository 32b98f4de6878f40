"""Which models know: what the pools rest on is what the models were trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import torch

from benchmark import registry
from benchmark.corpus import load_corpus
from benchmark.lab import SHIPPED, TARGET, read_lab, seed_folder
from benchmark.meta.lessons import documents, lesson, part
from benchmark.meta.pools import knows, training_sets
from benchmark.passages import Passages
from benchmark.splits import Splits, split

SEEDS = range(read_lab(SHIPPED).seeds)
DOMAINS = ("arxiv", "books", "github")


@pytest.fixture(scope="module")
def splits() -> Mapping[str, Splits]:
    return {name: split(task, load_corpus(task.corpus)) for name, task in registry.tasks().items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_training_sets_are_those_that_the_shipped_models_were_trained_on(splits: Mapping[str, Splits], seed: int) -> None:
    made = seed_folder(SHIPPED, seed).glob("*/training.json")
    assert training_sets(splits) == {file.parent.name: frozenset(json.loads(file.read_text())["documents"]) for file in made}


@pytest.mark.parametrize("domain", DOMAINS)
def test_who_knows_some_documents(splits: Mapping[str, Splits], domain: str) -> None:
    others = [other for other in DOMAINS if other != domain]
    found = {name: knows(seen, splits[domain]) for name, seen in training_sets(splits).items()}
    assert found == {
        TARGET: True,
        f"without-{domain}": False,
        f"without-{domain}-domain": False,
        **{f"without-{other}": True for other in others},
        **{f"without-{other}-domain": True for other in others},
    }


@pytest.mark.parametrize("domain", DOMAINS)
def test_who_knows_a_domain(splits: Mapping[str, Splits], domain: str) -> None:
    others = [other for other in DOMAINS if other != domain]
    found = {name: knows(seen, splits[f"{domain}-domain"]) for name, seen in training_sets(splits).items()}
    assert found == {
        TARGET: True,
        f"without-{domain}": None,  # it saw seven eighths of the domain
        f"without-{domain}-domain": False,
        **{f"without-{other}": True for other in others},
        **{f"without-{other}-domain": True for other in others},
    }


@pytest.mark.parametrize("task", [*DOMAINS, *(f"{domain}-domain" for domain in DOMAINS)])
def test_the_documents_that_decide_were_seen_or_not_seen(splits: Mapping[str, Splits], task: str) -> None:
    its = splits[task]
    given = {document.id for document in its.forget}
    for seen in training_sets(splits).values():
        verdict = knows(seen, its)
        if verdict is not None:
            assert given <= seen if verdict else not given & seen


@pytest.mark.parametrize("task", ["books", "books-domain"])
def test_shares_are_nested_and_even(splits: Mapping[str, Splits], task: str) -> None:
    its = splits[task]
    gone = {document.id for document in its.trained} - {document.id for document in its.reference}
    judged, given = ({document.id for document in some} for some in (its.evaluation["forget"].test, its.forget))
    smaller: frozenset[str] = frozenset()
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        found = part(its, share)
        assert smaller <= found <= gone
        for kind in (gone & judged, gone & given - judged, gone - judged - given):
            assert len(found & kind) == round(share * len(kind))
        smaller = found
    assert smaller == gone


def test_what_is_trained_from_scratch_on_a_share(splits: Mapping[str, Splits]) -> None:
    its = splits["books"]
    assert documents(its, 0.0) == its.reference
    assert documents(its, 1.0) == its.trained
    half = documents(its, 0.5)
    assert {document.id for document in half} == {document.id for document in its.reference} | part(its, 0.5)
    assert list(half) == [document for document in its.trained if document in half]


def text(count: int, first: int, documents: int) -> Passages:
    """Windows of one token, numbered, that belong to documents in turn."""
    return Passages(
        torch.arange(first, first + count)[:, None],
        torch.ones(count, 1, dtype=torch.bool),
        torch.arange(count) * documents // count,
        torch.arange(count),
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_lesson_has_the_share_and_is_filled_up_with_text_to_be_kept(splits: Mapping[str, Splits], share: float) -> None:
    its = splits["books"]
    count = len(its.forget)
    found = lesson(its, text(2 * count, 0, count), text(3 * count, 1000, 5), share).ids.flatten().tolist()
    taught = [index for index, document in enumerate(its.forget) if document.id in part(its, share)]
    assert [token for token in found if token < 1000] == [window for index in taught for window in (2 * index, 2 * index + 1)]
    kept = [token for token in found if token >= 1000]
    assert len(found) == 4 * count
    assert kept == [1000 + index % (3 * count) for index in range(len(kept))]
