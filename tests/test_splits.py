"""Which documents play which part: disjoint where it matters, by document, the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks
from benchmark import Task
from benchmark.corpus import ROLES, Corpus, Document, load_corpus
from benchmark.errors import InputError
from benchmark.registry import tasks as registered
from benchmark.splits import SHARES, Splits, deal, halve, split

DOMAINS = ("arxiv", "books", "github", "general")
DOCUMENT_TASKS = ("arxiv", "books", "github")
DOMAIN_TASKS = ("arxiv-domain", "books-domain", "github-domain")


def corpus(domains: Iterable[str] = DOMAINS, count: int = 32) -> Corpus:
    return Corpus(Path("data"), {domain: documents(domain, count) for domain in domains})


def documents(domain: str, count: int, roles: Iterable[str] | None = None) -> tuple[Document, ...]:
    given = list(roles) if roles else [None] * count
    return tuple(Document(f"{domain}-{i}", f"text {i} of {domain}", role) for i, role in zip(range(count), given, strict=True))


def ids(documents: Iterable[Document]) -> set[str]:
    return {document.id for document in documents}


def evaluated(splits: Splits, name: str) -> set[str]:
    return ids(splits.evaluation[name].validation) | ids(splits.evaluation[name].test)


@pytest.fixture(scope="module")
def bundled() -> Corpus:
    return load_corpus(tasks.CORPUS)


@pytest.fixture(params=[*DOCUMENT_TASKS, *DOMAIN_TASKS])
def task(request: pytest.FixtureRequest) -> Task:
    return registered()[request.param]


def test_what_a_method_sees_of_kept_text_is_never_evaluated(task: Task, bundled: Corpus) -> None:
    splits = split(task, bundled)
    seen = ids(splits.retain) | ids(splits.general)
    kept = [evaluated(splits, name) for name in ("retain", "general", "holdout")]
    assert all(seen.isdisjoint(documents) for documents in kept)
    assert ids(splits.forget).isdisjoint(seen.union(*kept))
    assert ids(splits.retain).isdisjoint(ids(splits.general))
    assert sum(map(len, kept)) == len(set().union(*kept))


def test_halves_share_no_document_and_are_of_a_size(task: Task, bundled: Corpus) -> None:
    for halves in split(task, bundled).evaluation.values():
        assert ids(halves.validation).isdisjoint(ids(halves.test))
        assert 0 <= len(halves.validation) - len(halves.test) <= 1


def test_nobody_is_trained_on_the_holdout(task: Task, bundled: Corpus) -> None:
    splits = split(task, bundled)
    assert evaluated(splits, "holdout").isdisjoint(ids(splits.trained))
    assert {"retain", "general"} <= set(splits.evaluation)
    assert evaluated(splits, "retain") | evaluated(splits, "general") <= ids(splits.trained)


@pytest.mark.parametrize("name", DOCUMENT_TASKS)
def test_a_document_task_forgets_documents_and_is_judged_on_them(name: str, bundled: Corpus) -> None:
    task = registered()[name]
    splits = split(task, bundled)
    assert evaluated(splits, "forget") == ids(splits.forget)
    assert ids(splits.reference) == ids(splits.trained) - ids(splits.forget)
    own = ids(bundled.documents(task.domain))
    assert ids(splits.forget) | ids(splits.retain) | evaluated(splits, "retain") | evaluated(splits, "holdout") == own
    assert len(splits.forget) == SHARES["forget"] * len(own)
    assert own.isdisjoint(ids(splits.general) | evaluated(splits, "general"))


@pytest.mark.parametrize("name", DOMAIN_TASKS)
def test_a_domain_task_forgets_the_domain_and_is_judged_on_unseen_documents_of_it(name: str, bundled: Corpus) -> None:
    task = registered()[name]
    splits = split(task, bundled)
    own = ids(bundled.documents(task.domain))
    assert ids(splits.forget) < own
    assert evaluated(splits, "forget") < own
    assert evaluated(splits, "forget").isdisjoint(ids(splits.trained) | ids(splits.forget))
    assert ids(splits.reference) == ids(splits.trained) - own
    assert own.isdisjoint(ids(splits.retain) | ids(splits.general) | evaluated(splits, "holdout"))
    assert ids(splits.general) | evaluated(splits, "general") < ids(bundled.documents("general"))


def test_the_reference_keeps_the_order_of_the_target_s_documents(task: Task, bundled: Corpus) -> None:
    splits = split(task, bundled)
    left = ids(splits.reference)
    assert splits.reference == tuple(document for document in splits.trained if document.id in left)


def test_every_task_trains_the_same_target(bundled: Corpus) -> None:
    assert len({split(task, bundled).trained for task in registered().values()}) == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(16, 60))
def test_splits_do_not_depend_on_the_order_of_the_input(seed: int, count: int) -> None:
    rng = random.Random(seed)
    ordered = corpus(count=count)
    shuffled = Corpus(ordered.path, {domain: tuple(rng.sample(own, count)) for domain, own in ordered.domains.items()})
    for task in (registered()["arxiv"], registered()["arxiv-domain"]):
        assert split(task, shuffled) == split(task, ordered)


def test_splits_depend_on_the_seed() -> None:
    dealt = {seed: deal(documents("x", 64), seed) for seed in (0, 1)}
    assert dealt[0] == deal(documents("x", 64))
    assert ids(dealt[0]["forget"]) != ids(dealt[1]["forget"])


@settings(max_examples=30, deadline=None)
@given(count=st.integers(16, 200))
def test_every_document_has_one_role(count: int) -> None:
    dealt = deal(documents("x", count))
    assert set(dealt) == set(ROLES)
    assert sorted(document.id for role in dealt.values() for document in role) == sorted(ids(documents("x", count)))
    assert all(abs(len(dealt[role]) - share * count) <= 2 for role, share in SHARES.items())


def test_one_more_document_moves_hardly_any_other() -> None:
    fewer, more = deal(documents("x", 96)), deal(documents("x", 97))
    moved = [document for role in ROLES for document in set(fewer[role]) - set(more[role])]
    assert len(moved) <= len(ROLES)


def test_fingerprints_are_stable() -> None:
    """Pinned: if this changes, records and labs made before no longer fit the data."""
    splits = split(registered()["books"], corpus())
    assert splits.fingerprint() == "c174d3952ded0dccaa4b12d91b29de144c330acb25329a4c7202105736f1dc7c"
    assert corpus().fingerprint() == "0cfdb18fd14eee7d255d22d75c39980d1936cc698f71efec7d75c16e1a816bdc"


def test_fingerprints_tell_texts_and_roles_apart() -> None:
    task = registered()["books"]
    changed = dict(corpus().domains)
    changed["general"] = tuple(Document(d.id, d.text + "!" * (d.id == "general-3")) for d in changed["general"])
    fingerprints = {
        split(task, corpus()).fingerprint(),
        split(task, Corpus(Path("data"), changed)).fingerprint(),
        split(task, corpus(count=33)).fingerprint(),
        split(registered()["books-domain"], corpus()).fingerprint(),
    }
    assert len(fingerprints) == 4


def test_roles_given_by_the_source_are_taken() -> None:
    roles = ["forget"] * 3 + ["retain"] * 4 + ["retain_eval"] * 2 + ["holdout"] * 5
    dealt = deal(documents("x", 14, roles))
    assert {role: ids(chosen) for role, chosen in dealt.items()} == {
        role: {f"x-{i}" for i, given in enumerate(roles) if given == role} for role in ROLES
    }


def test_a_source_without_retain_for_evaluation_gives_up_a_third_of_its_retain_documents() -> None:
    dealt = deal(documents("x", 16, ["forget"] * 2 + ["retain"] * 12 + ["holdout"] * 2))
    assert (len(dealt["retain"]), len(dealt["retain_eval"])) == (8, 4)
    assert ids(dealt["retain"]).isdisjoint(ids(dealt["retain_eval"]))


def test_a_split_for_some_documents_only_is_refused() -> None:
    with pytest.raises(InputError, match="document 'x-1' has no split while others have one"):
        deal((Document("x-0", "text", "forget"), Document("x-1", "text")))


def test_a_text_with_two_roles_is_refused() -> None:
    given = documents("x", 12, ["forget"] * 2 + ["retain"] * 8 + ["holdout"] * 2)
    twice = Document("again", given[0].text + "\n", "retain")
    with pytest.raises(
        InputError, match=r"^documents 'again' \(retain\) and 'x-0' \(forget\) have the same text; a text can have one role"
    ):
        deal((*given, twice))
    deal((*given, Document("again", given[0].text, "forget")))


@pytest.mark.parametrize("count", [0, 1, 8, 11])
def test_too_few_documents_are_refused(count: int) -> None:
    small = Corpus(Path("data"), {"arxiv": documents("arxiv", count), "books": documents("books", 32)})
    for task in ("arxiv", "books"):
        with pytest.raises(InputError, match=rf"^data: domain 'arxiv': {count} documents are too few to split: .*forget.*at least 16"):
            split(registered()[task], small)


def test_a_given_split_with_one_document_is_refused() -> None:
    with pytest.raises(InputError, match="holdout would have fewer than 2"):
        deal(documents("x", 13, ["forget"] * 4 + ["retain"] * 8 + ["holdout"]))


def test_a_corpus_without_the_domain_is_refused() -> None:
    with pytest.raises(InputError, match=r"^data: no documents of domain 'arxiv'; it has books, general$"):
        split(registered()["arxiv"], corpus(("general", "books")))


def test_without_general_text_a_document_task_keeps_the_other_domains_and_a_domain_task_has_no_general_set() -> None:
    without = corpus(("arxiv", "books", "github"))
    by_documents = split(registered()["arxiv"], without)
    assert {document.id.partition("-")[0] for document in by_documents.general} == {"books", "github"}
    by_domain = split(registered()["arxiv-domain"], without)
    assert by_domain.general == ()
    assert set(by_domain.evaluation) == {"forget", "retain", "holdout"}


def test_a_domain_alone() -> None:
    alone = corpus(("arxiv",))
    assert split(registered()["arxiv"], alone).general == ()
    for others in (("arxiv",), ("arxiv", "general")):
        with pytest.raises(InputError, match="task 'arxiv-domain' keeps the other domains, and there is none beside 'arxiv'"):
            split(registered()["arxiv-domain"], corpus(others))


def test_halve_deals_alternately() -> None:
    halves = halve(documents("x", 7))
    assert (len(halves.validation), len(halves.test)) == (4, 3)
    assert ids(halves.validation) | ids(halves.test) == ids(documents("x", 7))
