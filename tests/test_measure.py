"""Measuring: document by document, the same however the text is batched, ordered and padded."""

from __future__ import annotations

import math
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from conftest import documents
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import LanguageModel, Passages
from benchmark import measure as measuring
from benchmark.corpus import Document
from benchmark.losses import token_nll
from benchmark.measure import SHORTEST_BEGINNING, Diverged, EvaluationText, _beginning, divergence, evaluation_text, jensen_shannon, measure

Models = Callable[..., LanguageModel]


def text_of(lm: LanguageModel, given: list[Document]) -> EvaluationText:
    return evaluation_text(lm, given, most_tokens=10**9)


def by_document(lm: LanguageModel, text: EvaluationText) -> dict[str, tuple[float, int, int]]:
    measured = measure(lm, {"some": text})["some"]
    return dict(zip(measured.ids, zip(measured.nll, measured.correct, measured.tokens, strict=True), strict=True))


def assert_same(first: dict[str, tuple[float, int, int]], second: dict[str, tuple[float, int, int]]) -> None:
    assert first.keys() == second.keys()
    for name, (nll, correct, tokens) in first.items():
        assert second[name] == (pytest.approx(nll, rel=1e-5), correct, tokens)


def test_every_document_is_as_counted_token_by_token(tiny_lm: Models) -> None:
    lm = tiny_lm()
    given = documents("forget", 4)
    expected = {}
    for document in given:
        ids = lm.tokenizer(document.text)["input_ids"]
        nll, correct, tokens = 0.0, 0, 0
        for start in range(0, len(ids), lm.context):
            window = ids[start : start + lm.context]
            if len(window) < 5:
                continue
            with torch.no_grad():
                log_p = lm.model(input_ids=torch.tensor([window])).logits.double().log_softmax(dim=-1)[0]
            for position, token in enumerate(window[1:]):
                nll -= float(log_p[position, token])
                correct += int(log_p[position].argmax()) == token
                tokens += 1
        expected[document.id] = nll, correct, tokens
    assert_same(by_document(lm, text_of(lm, given)), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_measuring_changes_neither_weights_nor_precision(dtype: torch.dtype, tiny_lm: Models) -> None:
    lm = tiny_lm()
    lm.model.to(dtype)  # type: ignore[arg-type]
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    measure(lm, {"forget": text_of(lm, documents("retain", 3))})
    after = lm.model.state_dict()
    assert before.keys() == after.keys()
    assert all(after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items())


def test_top1_counts_the_most_likely_token_by_hand(tiny_lm: Models) -> None:
    lm = tiny_lm()
    logits = torch.zeros(2, 5, 300)
    for position, likely in enumerate([11, 99, 13, 0, 0]):
        logits[:, position, likely] = 5.0
    ids = torch.tensor([[10, 11, 12, 13, 14], [10, 11, 12, 13, 0]])
    text = EvaluationText(("a", "b"), Passages(ids, ids > 0, torch.tensor([0, 1]), torch.arange(2)))
    with patch.object(LanguageModel, "logits", lambda self, batch: logits):
        measured = measure(lm, {"some": text})["some"]
    # 11 and 13 were foreseen, 12 and 14 were not; that the padding, 0, was foreseen does not count.
    assert (measured.correct, measured.tokens, measured.top1) == ((2, 2), (4, 3), pytest.approx(4 / 7))
    right, wrong = math.log(math.exp(5) + 299) - 5, math.log(math.exp(5) + 299)
    assert measured.nll == (pytest.approx(2 * right + 2 * wrong, rel=1e-5), pytest.approx(2 * right + wrong, rel=1e-5))


@settings(max_examples=10, deadline=None)
@given(size=st.integers(1, 400), order=st.permutations(range(6)), columns=st.integers(0, 4))
def test_batch_size_order_and_padding_do_not_matter(tiny_lm: Models, size: int, order: list[int], columns: int) -> None:
    lm = tiny_lm()
    given_documents = documents("general", 6)
    expected = by_document(lm, text_of(lm, given_documents))
    text = text_of(lm, [given_documents[index] for index in order])
    empty = torch.zeros(0, lm.context + columns, dtype=torch.long)
    wide = text.passages.join(Passages(empty, empty.bool(), torch.zeros(0, dtype=torch.long), torch.arange(0)))
    with patch.object(measuring, "BATCH_TOKENS", size):
        assert_same(by_document(lm, EvaluationText(text.ids, wide)), expected)


def test_every_batch_is_within_the_token_limit(tiny_lm: Models) -> None:
    lm = tiny_lm()
    text = text_of(lm, documents("general", 8))
    with patch.object(measuring, "BATCH_TOKENS", 3 * lm.context):
        sizes = [len(batch) for batch in text.batches()]
    assert max(sizes) == 3
    assert sum(sizes) == len(text.passages)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_model_that_is_not_finite_has_diverged(tiny_lm: Models, broken: float) -> None:
    lm = tiny_lm()
    with torch.no_grad():
        next(iter(lm.model.parameters())).fill_(broken)
    with pytest.raises(Diverged, match="loss on the kept set is not finite"):
        measure(lm, {"kept": text_of(lm, documents("retain", 2))})


def test_dropout_is_off_while_measuring_and_back_on_after(tiny_lm: Models) -> None:
    lm = tiny_lm("gpt2")  # has dropout
    text = text_of(lm, documents("retain", 3))
    expected = by_document(lm, text)
    lm.model.train()
    lm.model.lm_head.eval()
    assert by_document(lm, text) == expected
    assert divergence(lm, lm, text) == pytest.approx(0, abs=1e-7)
    assert lm.model.training
    assert not lm.model.lm_head.training


class TestEvaluationText:
    def long_documents(self, count: int) -> list[Document]:
        return [Document(document.id, " ".join([document.text] * 12)) for document in documents("retain", count)]

    def lengths(self, text: EvaluationText) -> list[int]:
        return [int(text.passages.mask[text.passages.document == index].sum()) for index in range(text.passages.documents)]

    def test_all_documents_whole_where_they_fit(self, tiny_lm: Models) -> None:
        lm = tiny_lm()
        some = documents("retain", 8)
        text = evaluation_text(lm, some, 10**9)
        assert text.ids == tuple(document.id for document in some)
        assert torch.equal(text.passages.ids, lm.passages(some).ids)

    def test_a_document_too_short_for_a_window_is_left_out(self, tiny_lm: Models) -> None:
        first, second = documents("retain", 2)
        text = evaluation_text(tiny_lm(), [first, Document("scrap", "Hi"), second], 10**9)
        assert text.ids == (first.id, second.id)
        assert text.passages.document.unique().tolist() == [0, 1]

    def test_all_documents_are_cut_alike_and_short_ones_stay_whole(self, tiny_lm: Models) -> None:
        lm = tiny_lm()
        some = [*self.long_documents(3), Document("short", "A very short one, but a document.")]
        short = int(lm.passages(some[-1:]).mask.sum())
        text = evaluation_text(lm, some, 3 * 140 + short)
        assert self.lengths(text) == [140, 140, 140, short]
        whole = lm.passages(some)
        for index in range(4):
            cut, full = (
                passages.ids[passages.document == index][passages.mask[passages.document == index]] for passages in (text.passages, whole)
            )
            assert cut.tolist() == full[: len(cut)].tolist()

    @pytest.mark.parametrize(
        ("most", "count"), [(1, 2), (2 * SHORTEST_BEGINNING, 2), (5 * SHORTEST_BEGINNING, 5), (6 * SHORTEST_BEGINNING - 1, 5)]
    )
    def test_fewer_documents_rather_than_scraps_of_all(self, most: int, count: int, tiny_lm: Models) -> None:
        some = self.long_documents(8)
        text = evaluation_text(tiny_lm(), some, most)
        assert text.ids == tuple(document.id for document in some[:count])
        assert self.lengths(text) == [max(most // count, SHORTEST_BEGINNING)] * count

    @given(lengths=st.lists(st.integers(5, 400), min_size=2, max_size=6), most=st.integers(1, 2000))
    def test_never_more_than_asked_for(self, lengths: list[int], most: int) -> None:
        cut = _beginning(lengths, most)
        total = sum(min(length, cut) for length in lengths)
        assert total <= max(most, sum(min(length, SHORTEST_BEGINNING) for length in lengths))
        if total < sum(lengths) and cut > SHORTEST_BEGINNING:
            assert most - total < len(lengths)  # one token more a document would not have fitted


class TestJensenShannon:
    def test_equal_distributions_are_not_apart(self) -> None:
        logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
        assert jensen_shannon(logits, logits + 3.0).abs().max() < 1e-6  # a constant is no difference

    def test_disjoint_distributions_are_one_bit_apart(self) -> None:
        assert jensen_shannon(torch.tensor([200.0, 0.0]), torch.tensor([0.0, 200.0])).item() == pytest.approx(1.0, abs=1e-6)

    def test_by_hand(self) -> None:
        # (1/2, 1/2) and (1, 0): mixture (3/4, 1/4); half of KL 1/2 log 2/3 + 1/2 log 2, and half of log 4/3.
        expected = 0.5 * (0.5 * math.log2(2 / 3) + 0.5) + 0.5 * math.log2(4 / 3)
        assert jensen_shannon(torch.tensor([0.0, 0.0]), torch.tensor([100.0, 0.0])).item() == pytest.approx(expected, abs=1e-6)

    @settings(max_examples=50, deadline=None)
    @given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 50.0))
    def test_bounded_symmetric_and_as_in_float64(self, seed: int, scale: float) -> None:
        first, second = scale * torch.randn(2, 4, 30, generator=torch.Generator().manual_seed(seed))
        p, q = first.double().softmax(-1), second.double().softmax(-1)
        mixture = (p + q) / 2
        expected = sum(torch.special.xlogy(d, d / mixture).nansum(-1) for d in (p, q)) / (2 * math.log(2))
        distance = jensen_shannon(first, second)
        torch.testing.assert_close(distance.double(), expected, rtol=1e-4, atol=1e-5)
        assert distance.min() >= 0
        assert distance.max() <= 1 + 1e-6
        torch.testing.assert_close(jensen_shannon(second, first), distance, rtol=1e-4, atol=1e-6)


def test_divergence_is_the_mean_over_real_tokens(tiny_lm: Models) -> None:
    lm, other = tiny_lm(), tiny_lm()
    with torch.no_grad():
        other.model.get_output_embeddings().weight.mul_(0.5)
    text = text_of(lm, documents("forget", 4))
    with torch.no_grad():
        distances = jensen_shannon(lm.logits(text.passages)[:, :-1], other.logits(text.passages)[:, :-1])
    _, mask = token_nll(lm.logits(text.passages), text.passages)
    expected = float(distances[mask].double().mean())
    assert 0 < expected < 1
    assert divergence(lm, other, text) == pytest.approx(expected, rel=1e-5)
    with patch.object(measuring, "BATCH_TOKENS", lm.context):
        assert divergence(lm, other, text) == pytest.approx(expected, rel=1e-5)
    assert divergence(lm, lm, text) == pytest.approx(0, abs=1e-7)
