"""A batch run in parts: the same gradient, found when memory runs out."""

from __future__ import annotations

import itertools
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark import LanguageModel, Passages, Request, cross_entropy, descend, gradients, registry, sequence_nll, total_nll
from benchmark.loading import ON_CPU
from benchmark.memory import at_hand as memory_at_hand
from benchmark.memory.plan import out_of_memory
from methods.salun import SalUn

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]

DESCENDING = [
    "adversarial-labels",
    "ascent-kl",
    "gradient-ascent",
    "gradient-difference",
    "npo",
    "random-labels",
    "retain-finetuning",
    "rmu",
    "salun",
    "simnpo",
    "task-vector",
    "undial",
    "weighted-ascent",
]
"""Those whose loss can be cut exactly; not PDU, whose multiplier moves with every part."""


class _Seen(Exception):  # noqa: N818 -- the way out of a method once its first gradient is there
    pass


def first_gradient(lm: LanguageModel, request: Request, name: str, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> list[Tensor]:
    seen: list[Tensor] = []

    def clip(masters: Any, norm: float) -> None:
        seen.extend(torch.zeros(()) if master.grad is None else master.grad.clone() for master in masters)
        raise _Seen

    steps = iter(registry.method(name).build(fields).unlearn(lm, request))
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    with pytest.raises(_Seen):
        next(steps)
    return seen


@pytest.mark.parametrize("name", DESCENDING)
def test_parts_add_up_to_the_whole_batchs_gradient(
    name: str, tiny_lm: Models, request_for: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of several lengths, and a last part that is smaller than the others."""
    whole = tiny_lm()
    request = request_for(whole)
    assert len(set(request.forget.mask.sum(dim=1).tolist())) > 1
    wanted = first_gradient(whole, request, name, monkeypatch, batch=8)
    cut = tiny_lm()
    cut.plan.micro_batch = 3
    got = first_gradient(cut, request, name, monkeypatch, batch=8)
    largest = max(float(gradient.abs().max()) for gradient in wanted)
    assert largest > 0
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5 * largest)


def test_parts_add_up_to_the_whole_step_of_natural_ascent(tiny_lm: Models, request_for: Requests) -> None:
    whole, cut, before = tiny_lm(), tiny_lm(), tiny_lm()
    request = request_for(whole)
    assert request.general is not None
    cut.plan.micro_batch = 7
    assert len(request.retain) <= 21 >= len(request.general)  # so that curvature is measured in one pass, of the same draws
    for lm in (whole, cut):
        steps = registry.method("natural-ascent").build({"batch": 8}).unlearn(lm, request)
        next(iter(steps))
        next(iter(steps))  # now the divergence has a gradient as well
    moved = [(ours - old).detach() for ours, old in zip(whole.model.parameters(), before.model.parameters(), strict=True)]
    largest = max(float(step.abs().max()) for step in moved)
    assert largest > 0
    for ours, theirs in zip(cut.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-3 * largest)


def test_parts_add_up_in_lower_precision_too(tiny_lm: Models, request_for: Requests) -> None:
    def of(lm: LanguageModel) -> Tensor:
        lm.model.to(torch.bfloat16)
        weights = dict(lm.model.named_parameters())
        found = gradients(lm, lambda batch: cross_entropy(lm, batch), [request_for(lm).forget], weights)
        assert {gradient.dtype for gradient in found.values()} == {torch.float32}
        assert all(weight.grad is None for weight in weights.values())
        return torch.cat([found[name].flatten() for name in sorted(found)])

    cut = tiny_lm()
    cut.plan.micro_batch = 3
    whole, parts = of(tiny_lm()), of(cut)
    assert (parts - whole).norm() < 0.05 * whole.norm()


def test_parts_choose_the_salient_weights_of_the_whole(tiny_lm: Models, request_for: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, cut = tiny_lm(), tiny_lm()
    forget = request_for(lm).forget
    cut.plan.micro_batch = 3
    ran: list[int] = []
    logits = LanguageModel.logits
    monkeypatch.setattr(LanguageModel, "logits", lambda self, batch: ran.append(len(batch)) or logits(self, batch))
    wanted = SalUn(saliency=0.1, batch=8).salient_weights(lm, forget)
    assert max(ran) == min(8, len(forget)) > 3
    ran.clear()
    got = SalUn(saliency=0.1, batch=8).salient_weights(cut, forget)
    assert max(ran) == 3
    apart = sum(int((got[name] != mask).sum()) for name, mask in wanted.items())
    assert apart <= 4 < sum(int(mask.sum()) for mask in wanted.values())  # two as good as equal may change places


def test_saliency_goes_on_in_smaller_parts_where_memory_runs_out(
    tiny_lm: Models, request_for: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_lm()
    forget = request_for(lm).forget
    logits = LanguageModel.logits

    def scarce(self: LanguageModel, batch: Passages) -> Tensor:
        if len(batch) > 2:
            raise MemoryError
        return logits(self, batch)

    wanted = SalUn(saliency=0.1, batch=8).salient_weights(lm, forget)
    monkeypatch.setattr(LanguageModel, "logits", scarce)
    got = SalUn(saliency=0.1, batch=8).salient_weights(lm, forget)
    assert lm.plan.micro_batch is not None
    assert lm.plan.micro_batch <= 2
    assert sum(int((got[name] != mask).sum()) for name, mask in wanted.items()) <= 4
    assert all(weight.grad is None for weight in lm.model.parameters())


def test_windows_and_tokens_each_count_as_their_mean_says(tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    text = request_for(lm).forget
    head = lm.model.get_output_embeddings().weight
    for loss in (
        lambda batch: cross_entropy(lm, batch),
        lambda batch: sequence_nll(lm, batch)[0].square().mean(),
        lambda batch: total_nll(lm, batch),
    ):
        (whole,) = torch.autograd.grad(loss(text), head)
        cut = sum(torch.autograd.grad(loss(part), head)[0] for part in text.parts(2))
        torch.testing.assert_close(cut, whole, rtol=1e-3, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_by_default_a_step_is_that_of_the_whole_batch_to_the_last_bit(dtype: torch.dtype, tiny_lm: Models, request_for: Requests) -> None:
    lm, plain = tiny_lm(), tiny_lm()
    lm.model.to(dtype)
    plain.model.to(dtype)
    request = request_for(lm)

    def loss_of(model: LanguageModel) -> Callable[..., Tensor]:
        return lambda forget, kept: -cross_entropy(model, forget) + 2 * cross_entropy(model, kept)

    streams = [request.forget, request.retain]
    list(descend(lm, loss_of(lm), streams, lr=1e-3, steps=3, batch=5, seed=1))
    generator = torch.Generator().manual_seed(1)
    batches = [stream.shuffled(5, generator) for stream in streams]
    weights = list(plain.model.parameters())
    masters = [weight if dtype == torch.float32 else weight.detach().float() for weight in weights]
    optimizer = torch.optim.AdamW(masters, lr=1e-3, weight_decay=0.0)
    for _ in range(3):
        gradients = torch.autograd.grad(loss_of(plain)(*(next(batch) for batch in batches)), weights)
        for master, gradient in zip(masters, gradients, strict=True):
            master.grad = gradient.float()
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        with torch.no_grad():
            for weight, master in zip(weights, masters, strict=True):
                weight.copy_(master)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(lm.model.parameters(), weights, strict=True))
    assert lm.plan.micro_batch is None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: you")])
def test_running_out_of_memory_halves_the_parts_and_goes_on_from_before_the_step(
    error: Exception, tiny_lm: Models, request_for: Requests
) -> None:
    lm, known = tiny_lm(), tiny_lm()
    text = request_for(lm).forget
    known.plan.micro_batch = 2
    steps = itertools.count()

    def loss(model: LanguageModel, most: int, batch: Passages) -> Tensor:
        if len(batch) > most and next(steps) >= 0:
            raise error
        return cross_entropy(model, batch)

    list(descend(lm, lambda batch: loss(lm, 2, batch), [text], lr=1e-3, steps=3, batch=6, seed=0))
    assert next(steps) == 2  # 6 and 3 were too many, once each
    assert lm.plan.micro_batch == 2
    list(descend(known, lambda batch: loss(known, 6, batch), [text], lr=1e-3, steps=3, batch=6, seed=0))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(lm.model.parameters(), known.model.parameters(), strict=True))


def test_running_out_in_the_middle_of_a_step_counts_nothing_twice(tiny_lm: Models, request_for: Requests) -> None:
    lm, known = tiny_lm(), tiny_lm()
    text = request_for(lm).forget
    lm.plan.micro_batch, known.plan.micro_batch = 4, 2
    calls = itertools.count()

    def second_fails(batch: Passages) -> Tensor:
        if next(calls) == 1:
            raise MemoryError
        return cross_entropy(lm, batch)

    next(descend(lm, second_fails, [text], lr=1e-3, steps=1, batch=6, seed=0))
    next(descend(known, lambda batch: cross_entropy(known, batch), [text], lr=1e-3, steps=1, batch=6, seed=0))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(lm.model.parameters(), known.model.parameters(), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked to say no")
def test_the_host_says_no_before_it_is_all_gone(tiny_lm: Models, request_for: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()
    monkeypatch.setattr(memory_at_hand, "free_memory", lambda devices: 5 << 28)
    limits = resource.getrlimit(resource.RLIMIT_DATA)

    def loss(batch: Passages) -> Tensor:
        torch.empty(len(batch) << 28, dtype=torch.uint8)  # a quarter of a gigabyte a window, promised and never used
        return cross_entropy(lm, batch)

    with memory_at_hand.bounded(ON_CPU):
        next(descend(lm, loss, [request_for(lm).forget], lr=1e-3, steps=1, batch=6, seed=0))
    assert lm.plan.micro_batch == 3
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits


def test_one_window_that_does_not_fit_is_an_error_and_so_is_any_other(tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    text = request_for(lm).forget

    def exhausted(batch: Passages) -> Tensor:
        raise MemoryError("no room at all")

    def wrong(batch: Passages) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(MemoryError, match="no room at all"):
        next(descend(lm, exhausted, [text], lr=1e-3, steps=1, batch=6, seed=0))
    assert lm.plan.micro_batch == 1
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    fresh = tiny_lm()
    with pytest.raises(RuntimeError, match="mat1"):
        next(descend(fresh, wrong, [text], lr=1e-3, steps=1, batch=6, seed=0))
    assert fresh.plan.micro_batch is None


def test_parts_know_what_they_are_a_part_of(tiny_lm: Models, request_for: Requests) -> None:
    text = request_for(tiny_lm()).retain
    parts = list(text.parts(3))
    assert [len(part) for part in parts] == [3] * (len(text) // 3) + [len(text) % 3] * (len(text) % 3 > 0)
    assert all(part.part_of is text and part.to(torch.device("cpu")).part_of is text for part in parts)
    assert sum(part.predicted for part in parts) == text.predicted == text.tokens - len(text)
    assert list(text.parts(len(text))) == [text]
    assert replace(parts[0], ids=parts[0].ids).part_of is text
