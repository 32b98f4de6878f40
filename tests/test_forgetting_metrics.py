"""The metrics of forgetting on models whose knowledge is known, by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from statistics import mean
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from conftest import documents
from hypothesis import given
from hypothesis import strategies as st
from records import baseline
from test_continuation import Fixed
from torch.nn import functional as F

from benchmark import LanguageModel, Passages, registry
from benchmark.measure import EvaluationText, evaluation_text
from benchmark.metrics.extraction_strength import strengths
from benchmark.metrics.greedy_continuation import longest_common_span
from benchmark.metrics.leak_at_k import DRAWN, EXCERPTS, K, expected_best
from benchmark.panel.continuation import GREEDY, LONGEST, Continuation
from benchmark.panel.rouge import rouge_l
from benchmark.panel.subject import Predictions, Subject, predictions
from benchmark.record import MetricValue

Models = Callable[..., LanguageModel]

VOCABULARY = 120


def subject_of(lm: LanguageModel, text: EvaluationText, *, code: bool = False) -> Subject:
    return Subject(lm=lm, validation={}, test={"forget": text}, retain=text.passages, general=None, baseline=baseline(), code=code)


def counting(lm: LanguageModel) -> LanguageModel:
    """A model that follows every token with the next higher one, and is sure of it; its tokens are words."""
    table = 100 * F.one_hot((torch.arange(VOCABULARY) + 1) % VOCABULARY).float()
    words = SimpleNamespace(eos_token_id=None, decode=lambda ids, skip_special_tokens: " ".join(f"w{id_}" for id_ in ids))
    return replace(lm, model=Fixed(table), tokenizer=words)


def counted() -> EvaluationText:
    """Two documents of 32 tokens: one counts up, the other only over the first three tokens of its second half."""
    known = list(range(10, 42))
    other = [*range(50, 69), *range(13, 0, -1)]
    ids = torch.tensor([known, other])
    return EvaluationText(("known", "other"), Passages(ids, ids > 0, torch.arange(2), torch.arange(2)))


def measured(name: str, subject: Subject) -> MetricValue:
    return registry.metric(name).measure(subject)


def found(hits: list[list[int]], lengths: list[int]) -> Predictions:
    """Hits of windows, of which the first `lengths` are real."""
    hit = torch.tensor(hits).bool()
    mask = torch.arange(hit.shape[1]) < torch.tensor(lengths)[:, None]
    zero = torch.zeros(hit.shape)
    return Predictions(mask, zero, zero, zero, hit & mask, torch.arange(len(hits)))


def test_extraction_strength_by_hand() -> None:
    windows = found([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1]], [4, 5, 3])
    assert strengths(windows).tolist() == pytest.approx([2 / 4, 1.0, 0.0])


def test_extraction_strength_is_zero_where_the_last_token_is_not_guessed() -> None:
    """OpenUnlearning's loop never reaches k = L: it gives 1/L both to a wrong last token and to a right one alone."""
    wrong, right = strengths(found([[1, 1, 1, 0], [0, 0, 0, 1]], [4, 4])).tolist()
    assert (wrong, right) == (0.0, 0.25)


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 3))
def test_extraction_strength_is_as_defined(hits: list[bool], padding: int) -> None:
    length = len(hits)
    least = next(k for k in range(length + 1) if all(hits[k:]))
    assert strengths(found([[*hits, *[0] * padding]], [length])).item() == pytest.approx(1 - least / length)


def test_extraction_strength_counts_documents_alike(tiny_lm: Models) -> None:
    lm = tiny_lm()
    text = evaluation_text(lm, documents("forget", 4), most_tokens=10**9)
    value = measured("extraction_strength", subject_of(lm, text))
    each = strengths(predictions(lm, text))
    expected = {id_: float(each[text.passages.document == index].mean()) for index, id_ in enumerate(text.ids)}
    assert {id_: row["score"] for id_, row in value.value_by_index.items()} == pytest.approx(expected)
    assert value.agg_value == pytest.approx(mean(expected.values()))
    assert value.interval is not None


def test_the_short_ends_of_documents_are_left_out(tiny_lm: Models) -> None:
    # of two windows the short one is known by heart, and tells nothing
    hit = torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    known = Predictions(
        mask, torch.tensor([[-1.0, -2, -3, -4], [0, 0, 0, 0]]), hit.float(), hit.float(), hit, torch.zeros(2, dtype=torch.long)
    )
    subject = subject_of(tiny_lm(), EvaluationText(("only",), counted().passages))
    vars(subject)["forget"] = known
    assert strengths(known).tolist() == [0.0, 1.0]
    assert measured("extraction_strength", subject).agg_value == 0.0
    value = measured("window_nll", subject)
    assert (value.agg_value, value.value_by_index) == (2.5, {"window 0": {"nll": 2.5}})


@pytest.mark.parametrize(("name", "known", "other"), [("verbatim", 16, 3), ("verbmem_rouge", 1.0, 3 / 16), ("leak_at_k", 1.0, 3 / 16)])
def test_decoding_of_a_model_that_counts(name: str, known: float, other: float, tiny_lm: Models) -> None:
    value = measured(name, subject_of(counting(tiny_lm()), counted()))
    assert value.value_by_index == {"known": {"score": pytest.approx(known)}, "other": {"score": pytest.approx(other)}}
    assert value.agg_value == pytest.approx((known + other) / 2)


@pytest.mark.parametrize("name", ["verbatim", "verbmem_rouge", "leak_at_k", "clone_length"])
def test_text_too_short_to_decode_has_no_value(name: str, tiny_lm: Models) -> None:
    text = counted()
    short = replace(text, passages=text.passages.beginnings(15))
    value = measured(name, subject_of(counting(tiny_lm()), short, code=True))
    assert (value.agg_value, value.reason) == (None, "no document is long enough")


@pytest.mark.parametrize("name", ["verbatim", "verbmem_rouge", "leak_at_k", "clone_length", "extraction_strength"])
def test_order_of_windows_does_not_matter(name: str, tiny_lm: Models) -> None:
    lm = tiny_lm()
    text = evaluation_text(lm, documents("forget", 5), most_tokens=10**9)
    shuffled = replace(text, passages=text.passages.take(torch.randperm(len(text.passages), generator=torch.Generator().manual_seed(0))))
    one, two = (measured(name, subject_of(lm, given, code=True)) for given in (text, shuffled))
    assert one.agg_value is not None
    assert two.value_by_index == {id_: {"score": pytest.approx(row["score"])} for id_, row in one.value_by_index.items()}


def test_the_longest_span_may_begin_anywhere() -> None:
    assert longest_common_span([1, 2, 3, 4, 5, 9], [7, 3, 4, 5, 1, 2]) == 3
    assert longest_common_span([1, 2], []) == 0
    assert longest_common_span([1] * 300, [1] * 300) == 300, "however frequent a token is"


def test_rouge_l_by_hand() -> None:
    assert rouge_l("The cat sat on the mat.", "the cat, on a mat") == pytest.approx((4 / 6, 2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5)))
    assert rouge_l("he runs", "he running") == (1.0, 1.0), "stemmed"
    assert rouge_l("words", "") == (0.0, 0.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.data())
def test_the_best_of_k_is_the_mean_over_all_subsets(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    assert expected_best(scores, k) == pytest.approx(mean(max(some) for some in itertools.combinations(scores, k)))


def test_leakage_is_of_the_best_samples_not_of_the_likeliest(tiny_lm: Models) -> None:
    """A model that says `w1` most of the time and what it should hide one time in four: greedy decoding finds nothing."""
    table = torch.full((VOCABULARY, VOCABULARY), -100.0)
    table[:, 1], table[:, 7] = 0.0, -1.1
    lm = replace(counting(tiny_lm()), model=Fixed(table))
    ids = torch.full((2, 32), 7)
    text = EvaluationText(("a", "b"), Passages(ids, ids > 0, torch.arange(2), torch.arange(2)))
    subject = subject_of(lm, text)
    assert measured("verbmem_rouge", subject).agg_value == 0
    leak = measured("leak_at_k", subject).agg_value
    assert leak is not None
    assert 0.25 + 0.05 < leak < 0.6, "the best of four samples, each of which leaks a quarter"


def test_clones_are_of_code_alone(tiny_lm: Models) -> None:
    lm = replace(tiny_lm(), tokenizer=SimpleNamespace(decode=lambda ids, skip_special_tokens: "".join(map(chr, ids))))
    truth, renamed, other = "for row in rows: add(row)", "for x in xs: f(x)", "import os"
    codes = [(0, truth, renamed), (0, truth, other), (1, truth, truth[:12])]
    written = tuple(Continuation(document, tuple(map(ord, a)), tuple(map(ord, b))) for document, a, b in codes)
    with patch.object(Subject, "written", written):
        value = measured("clone_length", subject_of(lm, counted(), code=True))
        prose = measured("clone_length", subject_of(lm, counted()))
    assert value.value_by_index == {"known": {"score": 9}, "other": {"score": 4}}
    assert prose.agg_value is None
    assert prose.reason is not None


def test_the_cards_say_how_much_is_decoded() -> None:
    for name, excerpts in (("verbatim", GREEDY), ("verbmem_rouge", GREEDY), ("clone_length", GREEDY), ("leak_at_k", EXCERPTS)):
        card = registry.metric(name).measure.__doc__ or ""
        assert f"the first {excerpts} stretches of {LONGEST} tokens" in " ".join(card.split())
    assert f"best of {K} samples" in card
    assert f"from {DRAWN}." in card


def test_tasks_say_which_text_is_code() -> None:
    assert {name for name, task in registry.tasks().items() if task.code} == {"github", "github-domain"}
    assert {name for name, task in registry.tasks("pile").items() if task.code} == {"code-domain"}
