"""The optimisation loop that gradient methods share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmark import LanguageModel, Passages, Request, cross_entropy, descend

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]


def test_it_minimises_and_yields_after_every_step(tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    text = request_for(lm).forget
    before = cross_entropy(lm, text).item()
    losses = []
    for _ in descend(lm, lambda batch: cross_entropy(lm, batch), [text], lr=1e-2, steps=8, batch=6, seed=0):
        losses.append(cross_entropy(lm, text).item())
    assert len(losses) == 8
    assert losses[-1] < losses[0] < before


def test_every_stream_gives_its_own_batch_in_full_passes(tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    request = request_for(lm)
    seen: list[list[tuple[int, ...]]] = [[], []]

    def loss(first: Passages, second: Passages) -> torch.Tensor:
        for windows, batch in zip(seen, (first, second), strict=True):
            assert len(batch) == 3
            windows.extend(tuple(ids[mask].tolist()) for ids, mask in zip(batch.ids, batch.mask, strict=True))
        return cross_entropy(lm, first)

    steps = max(len(request.forget), len(request.retain))
    for _ in descend(lm, loss, [request.forget, request.retain], lr=1e-4, steps=steps, batch=3, seed=0):
        pass
    for windows, text in zip(seen, (request.forget, request.retain), strict=True):
        every = sorted(tuple(ids[mask].tolist()) for ids, mask in zip(text.ids, text.mask, strict=True))
        assert sorted(windows[: len(text)]) == every
        assert sorted(windows[len(text) : 2 * len(text)]) == every
        assert windows[: len(text)] != windows[len(text) : 2 * len(text)]


def test_frozen_parameters_stay_and_no_gradient_remains(tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    frozen = lm.model.get_input_embeddings().weight.requires_grad_(False)
    before = frozen.clone()
    others = {name: parameter.detach().clone() for name, parameter in lm.model.named_parameters() if parameter.requires_grad}
    for _ in descend(lm, lambda batch: cross_entropy(lm, batch), [request_for(lm).forget], lr=1e-3, steps=2, batch=4, seed=0):
        assert all(parameter.grad is None for parameter in lm.model.parameters())
    assert torch.equal(frozen, before)
    changed = [name for name, parameter in lm.model.named_parameters() if name in others and not torch.equal(parameter, others[name])]
    assert len(changed) == len(others)


@pytest.mark.parametrize("lr", [1e-3, 1e-5])
def test_the_learning_rate_bounds_a_step(tiny_lm: Models, request_for: Requests, lr: float) -> None:
    lm, untouched = tiny_lm(), tiny_lm()
    next(descend(lm, lambda batch: cross_entropy(lm, batch), [request_for(lm).forget], lr=lr, steps=1, batch=4, seed=0))
    pairs = zip(lm.model.parameters(), untouched.model.parameters(), strict=True)
    assert max((a - b).abs().max().item() for a, b in pairs) == pytest.approx(lr, rel=0.05)  # and no weight decay on top
