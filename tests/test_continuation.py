"""Decoding: token by token as without a cache, the same however excerpts are ordered, padded and batched."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from conftest import CONFIGS, documents
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark import LanguageModel, Passages, Request, registry
from benchmark.measure import Diverged
from benchmark.panel import continuation
from benchmark.panel.continuation import Prompt, _quantile, greedy, prompts, sampled

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]


def text_of(*lengths: int) -> Passages:
    """A document of one window for each length; token ids count up."""
    ids = torch.arange(max(lengths)).repeat(len(lengths), 1) + 1
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Passages(ids * mask, mask, torch.arange(len(lengths)), torch.arange(len(lengths)))


def some_prompts(lm: LanguageModel) -> list[Prompt]:
    found = prompts(lm.passages(documents("forget", 6)), most=9)
    assert len({len(prompt.ids) for prompt in found}) > 1, "of several lengths"
    return found


class Fixed(nn.Module):
    """Says the same of the next token whatever came before, or what a table says of the last one."""

    device = torch.device("cpu")

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits.expand(logits.shape[-1], -1)

    def forward(self, input_ids: Tensor, past_key_values: None, use_cache: bool, logits_to_keep: int) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits[input_ids[:, -logits_to_keep:]], past_key_values=None)


def uncached(lm: LanguageModel, prompt: Prompt, choose: Callable[[int, Tensor], int]) -> tuple[int, ...]:
    """Every token from a pass over all before it."""
    ids = prompt.ids.tolist()
    for step in range(len(prompt.truth)):
        with torch.no_grad():
            ids.append(choose(step, lm.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()))
    rest = ids[len(prompt.ids) :]
    end = lm.tokenizer.eos_token_id
    return tuple(rest[: rest.index(end)] if end in rest else rest)


def test_excerpts_by_hand() -> None:
    found = prompts(text_of(300, 20, 15, 127), most=8)
    assert [(prompt.document, len(prompt.ids), len(prompt.truth)) for prompt in found] == [
        (0, 64, 64),
        (0, 64, 64),
        (0, 16, 28),  # half of 44 is 22
        (1, 8, 12),
        (3, 56, 71),  # half of 127 is 63
    ]
    assert found[1].ids.tolist() == list(range(129, 193))
    assert found[1].truth.tolist() == list(range(193, 257))


def test_only_the_first_excerpts_of_a_document_are_taken() -> None:
    assert [(prompt.document, int(prompt.ids[0])) for prompt in prompts(text_of(300, 300), most=2)] == [(0, 1), (0, 129), (1, 1), (1, 129)]


def test_order_and_padding_of_the_text_do_not_matter() -> None:
    text = text_of(300, 20, 15, 127)
    wider = replace(text, ids=F.pad(text.ids, (0, 9)), mask=F.pad(text.mask, (0, 9)))
    for other in (text.take(torch.tensor([2, 0, 3, 1])), wider):
        for one, two in zip(prompts(text, most=2), prompts(other, most=2), strict=True):
            assert (one.document, one.ids.tolist(), one.truth.tolist()) == (two.document, two.ids.tolist(), two.truth.tolist())


@pytest.mark.parametrize("family", CONFIGS)
def test_greedy_is_what_a_pass_over_everything_finds_likeliest(family: str, tiny_lm: Models) -> None:
    lm = tiny_lm(family)
    given = some_prompts(lm)
    for prompt, found in zip(given, greedy(lm, given), strict=True):
        assert found.written == uncached(lm, prompt, lambda step, logits: int(logits.argmax()))
        assert (found.document, found.truth) == (prompt.document, tuple(prompt.truth.tolist()))


@pytest.mark.parametrize("family", CONFIGS)
def test_samples_are_quantiles_of_what_a_pass_over_everything_says(family: str, tiny_lm: Models) -> None:
    lm = tiny_lm(family)
    given = some_prompts(lm)[-4:]
    longest = max(len(prompt.truth) for prompt in given)
    draws = torch.rand(len(given) * 2, longest, generator=torch.Generator().manual_seed(continuation.SEED), dtype=torch.float64).numpy()
    rows = itertools.count()
    for prompt, samples in zip(given, sampled(lm, given, 2), strict=True):
        for found in samples:
            row = next(rows)
            expected = uncached(lm, prompt, lambda step, logits: int((logits.softmax(-1).cumsum(-1) <= draws[row, step]).sum()))  # noqa: B023
            assert found.written == expected


def test_with_a_module_put_into_the_model_too(tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    request = request_for(lm)
    assert request.general is not None
    method = registry.method("codebook").build({"expansion": 4, "active": 8, "train_steps": 5, "adapt_steps": 5})
    given = some_prompts(lm)[-4:]
    before = greedy(lm, given)
    next(iter(method.unlearn(lm, replace(request, prepared=method.prepare(lm, request.general)))))
    found = greedy(lm, given)
    assert found != before
    for prompt, one in zip(given, found, strict=True):
        assert one.written == uncached(lm, prompt, lambda step, logits: int(logits.argmax()))


def test_batches_do_not_matter(tiny_lm: Models) -> None:
    lm = tiny_lm()
    given = some_prompts(lm)
    alone = tuple(greedy(lm, [prompt])[0] for prompt in given)
    assert greedy(lm, given) == alone
    with patch.object(continuation, "ROWS", 2):
        assert greedy(lm, given) == alone
        few = sampled(lm, given, 3)
    assert sampled(lm, given, 3) == few


def test_samples_are_the_same_whatever_was_drawn_before_and_draw_nothing_themselves(tiny_lm: Models) -> None:
    lm = tiny_lm()
    given = some_prompts(lm)[-4:]
    torch.manual_seed(1)
    first = sampled(lm, given, 3)
    after = torch.rand(())
    torch.manual_seed(1)
    assert torch.rand(()) == after
    assert sampled(lm, given, 3) == first
    assert len({one.written for samples in first for one in samples}) > len(given), "samples of a prompt differ"


def test_samples_come_as_often_as_the_model_says(tiny_lm: Models) -> None:
    chances = torch.tensor([0.5, 0.3, 0.2, 1e-30])
    lm = replace(tiny_lm(), model=Fixed(chances.log()), tokenizer=SimpleNamespace(eos_token_id=None))
    prompt = Prompt(0, torch.zeros(8, dtype=torch.long), torch.zeros(4, dtype=torch.long))
    (samples,) = sampled(lm, [prompt], 2000)
    counts = torch.bincount(torch.tensor([one.written for one in samples]).flatten(), minlength=4) / 8000
    assert counts.tolist() == pytest.approx([0.5, 0.3, 0.2, 0.0], abs=0.02)  # 3.6 standard errors


def test_quantiles_by_hand() -> None:
    logits = torch.tensor([0.5, 0.25, 0.0, 0.25]).log().expand(5, -1)
    draws = torch.tensor([[0.0], [0.49], [0.51], [0.76], [0.999]], dtype=torch.float64)
    assert _quantile(logits, draws).flatten().tolist() == [0, 0, 1, 3, 3]
    impossible_first = torch.tensor([[0.0, 1.0]]).log()
    assert _quantile(impossible_first, draws[:1]).item() == 1


def test_a_text_that_the_model_ends_is_shorter(tiny_lm: Models) -> None:
    successor = F.one_hot((torch.arange(40) + 1) % 40).float()
    lm = replace(tiny_lm(), model=Fixed(successor), tokenizer=SimpleNamespace(eos_token_id=12))
    (found,) = greedy(lm, [Prompt(0, torch.arange(1, 9), torch.arange(9, 17))])
    assert found.written == (9, 10, 11)


def test_a_model_that_says_nothing_finite_is_found_out(tiny_lm: Models) -> None:
    lm = tiny_lm()
    with torch.no_grad():
        next(lm.model.parameters()).fill_(torch.nan)
    with pytest.raises(Diverged):
        greedy(lm, some_prompts(lm))


def test_every_module_goes_back_to_its_mode(tiny_lm: Models) -> None:
    lm = tiny_lm("gpt2")
    expected = greedy(lm, some_prompts(lm))
    lm.model.train(True)
    assert greedy(lm, some_prompts(lm)) == expected, "decoding drops nothing at random"
    assert all(module.training for module in lm.model.modules())
