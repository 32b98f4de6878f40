"""What every method on the board must do, whoever wrote it: parametrised over the registry."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from test_losses import widened
from torch import Tensor, nn

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, registry
from methods.gradient_ascent import GradientAscent
from methods.gradient_difference import GradientDifference
from methods.retain_finetuning import RetainFinetuning

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]
State = dict[str, Tensor]

STEPS = 4
"""As many steps of each method are looked at."""


@pytest.fixture(params=list(registry.methods()))
def method(request: pytest.FixtureRequest) -> UnlearningMethod:
    return registry.method(request.param).build()


def given(method: UnlearningMethod, lm: LanguageModel, request: Request) -> Request:
    """The request with what the method prepares; skips the test where the method declines."""
    prepared = {}
    if type(method).prepare is not UnlearningMethod.prepare:
        assert request.general is not None
        prepared = {name: tensor.detach() for name, tensor in method.prepare(lm, request.general).items()}
    full = Request(request.forget, request.retain, request.general, request.seed, prepared)
    if reason := method.unsupported(lm, full):
        pytest.skip(reason)
    return full


def state(lm: LanguageModel) -> State:
    return {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}


def output(lm: LanguageModel, text: Passages) -> Tensor:
    with torch.no_grad():
        return lm.logits(text)


def follow(method: UnlearningMethod, lm: LanguageModel, request: Request, steps: int = STEPS) -> Iterator[int]:
    """The first steps of a run, which is then closed as the harness does."""
    run = method.unlearn(lm, request)
    for number, _ in enumerate(itertools.islice(run, steps), start=1):
        yield number
    run.close()  # type: ignore[attr-defined]


def same(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_it_yields_and_changes_what_the_model_says(method: UnlearningMethod, tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    request = given(method, lm, request_for(lm))
    before = output(lm, request.forget)
    assert list(follow(method, lm, request))
    after = output(lm, request.forget)
    assert after.isfinite().all()
    assert (after - before).abs().max() > 1e-4


def test_the_seed_decides_everything(method: UnlearningMethod, tiny_lm: Models, request_for: Requests) -> None:
    runs = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        random.seed(disturbance)
        np.random.seed(disturbance)
        lm = tiny_lm()
        request = given(method, lm, request_for(lm, seed=7))
        runs.append([state(lm) for _ in follow(method, lm, request)])
    assert all(same(first, second) for first, second in zip(*runs, strict=True))


def test_global_generators_are_left_alone(method: UnlearningMethod, tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    request = given(method, lm, request_for(lm))
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    list(follow(method, lm, request))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # type: ignore[index]


def test_nothing_is_left_behind(method: UnlearningMethod, tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    lm.model.get_input_embeddings().requires_grad_(False)  # the user's own choice

    def traces(model: nn.Module) -> dict[str, object]:
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
        return {
            "hooks": [(name, kind) for name, module in model.named_modules() for kind in hooks if getattr(module, kind)],
            "trained": {name: parameter.requires_grad for name, parameter in model.named_parameters() if name in known},
            "gradients": [name for name, parameter in model.named_parameters() if parameter.grad is not None],
            "training": model.training,
            "grad mode": torch.is_grad_enabled(),
        }

    known = {name for name, _ in lm.model.named_parameters()}
    before = traces(lm.model)
    list(follow(method, lm, given(method, lm, request_for(lm))))
    assert traces(lm.model) == before


def test_the_state_dict_alone_brings_back_every_step(method: UnlearningMethod, tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    request = given(method, lm, request_for(lm))
    steps = [(state(lm), output(lm, request.retain)) for _ in follow(method, lm, request)]
    for kept, expected in reversed(steps):
        lm.model.load_state_dict(kept)
        assert torch.equal(output(lm, request.retain), expected)


def test_padding_does_not_matter(method: UnlearningMethod, tiny_lm: Models, request_for: Requests) -> None:
    states = []
    for columns in (0, 5):
        lm = tiny_lm()
        plain = request_for(lm)
        texts = [widened(text, columns, filler=17 * (columns > 0)) for text in (plain.forget, plain.retain, plain.general)]
        list(follow(method, lm, given(method, lm, Request(*texts, seed=plain.seed))))
        states.append(state(lm))
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=0, atol=1e-5, msg=name)


def test_it_works_where_embeddings_are_tied(method: UnlearningMethod, tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm("gpt2")
    request = given(method, lm, request_for(lm))
    before = output(lm, request.forget)
    list(follow(method, lm, request))
    assert not torch.equal(output(lm, request.forget), before)


def drawn(texts: Sequence[Passages], size: int, generator: torch.Generator) -> Iterator[list[Passages]]:
    """Batches drawn by hand: of each text, pass after pass in random order."""
    orders: list[list[int]] = [[] for _ in texts]
    while True:
        for text, order in zip(texts, orders, strict=True):
            while len(order) < size:
                order += torch.randperm(len(text), generator=generator).tolist()
        yield [text.take(torch.tensor(order[:size])) for text, order in zip(texts, orders, strict=True)]
        orders = [order[size:] for order in orders]


def hugging_face_loss(lm: LanguageModel, text: Passages) -> Tensor:
    return lm.model(input_ids=text.ids, attention_mask=text.mask.long(), labels=text.ids.masked_fill(~text.mask, -100)).loss


LOSSES: list[tuple[UnlearningMethod, tuple[str, ...], Callable[..., Any], int]] = [
    (GradientAscent(lr=1e-3, batch=5), ("forget",), lambda forget: -forget, 5),
    (GradientDifference(lr=2e-3, retain_weight=3.0, batch=4), ("forget", "retain"), lambda forget, kept: -forget + 3 * kept, 4),
    (GradientDifference(lr=1e-3, kept="general", batch=40), ("forget", "general"), lambda forget, kept: -forget + 2 * kept, 40),
    (RetainFinetuning(lr=1e-3, batch=6), ("retain",), lambda kept: kept, 6),
    (RetainFinetuning(lr=1e-3, batch=6, kept="general"), ("general",), lambda kept: kept, 6),
]


@pytest.mark.parametrize(("method", "streams", "loss", "batch"), LOSSES, ids=lambda value: type(value).__name__)
def test_the_first_steps_are_those_of_plain_pytorch(
    tiny_lm: Models, request_for: Requests, method: Any, streams: tuple[str, ...], loss: Callable[..., Tensor], batch: int
) -> None:
    lm, plain = tiny_lm(), tiny_lm()
    request = request_for(lm, seed=3)
    list(follow(method, lm, request, steps=3))
    batches = drawn([getattr(request, name) for name in streams], batch, torch.Generator().manual_seed(3))
    optimizer = torch.optim.AdamW(plain.model.parameters(), lr=method.lr, weight_decay=0.0)
    gradients = []
    for texts in itertools.islice(batches, 3):
        optimizer.zero_grad()
        loss(*(hugging_face_loss(plain, text) for text in texts)).backward()
        assert torch.nn.utils.clip_grad_norm_(plain.model.parameters(), 1.0) > 1  # clipping is put to the test
        gradients.append([parameter.grad.abs() for parameter in plain.model.parameters()])
        optimizer.step()
    compared = 0
    for ours, theirs, untouched, *sizes in zip(
        lm.model.parameters(), plain.model.parameters(), tiny_lm().model.parameters(), *gradients, strict=True
    ):
        telling = torch.stack(sizes).min(dim=0).values > 1e-4  # where a gradient is next to nothing, rounding decides the step
        torch.testing.assert_close(ours[telling], theirs[telling], rtol=0, atol=2e-3 * method.lr + 1e-6)
        compared += int(((ours - untouched).abs() > 0.5 * method.lr)[telling].sum())
    assert compared > 500
