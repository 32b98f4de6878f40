"""Gradient checkpointing: the same gradients from less memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmark import LanguageModel, Request, cross_entropy
from benchmark.check.subjects import FAMILIES
from benchmark.memory.checkpointing import checkpoint_blocks

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]


def kept_for_backward(lm: LanguageModel, request: Request) -> tuple[int, Tensor]:
    """Bytes that a loss keeps, and the gradient of the first block's weights that it gives."""
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = cross_entropy(lm, request.forget)
    size = sum(storage.nbytes() for storage in storages.values())
    gradients = torch.autograd.grad(loss, list(lm.model.parameters()))
    return size, torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_is_the_same_and_less_is_kept(family: str, tiny_lm: Models, request_for: Requests) -> None:
    """GPT-2 and OPT drop activations at random in training mode: not here."""
    plain, lm = tiny_lm(family), tiny_lm(family)
    request = request_for(lm)
    checkpoint_blocks(lm.model)
    size, wanted = kept_for_backward(plain, request)
    less, gradient = kept_for_backward(lm, request)
    assert torch.equal(gradient, wanted)
    assert less < 0.8 * size
    assert torch.equal(lm.logits(request.retain), plain.logits(request.retain))


def test_a_copy_runs_its_own_weights(tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    checkpoint_blocks(lm.model)
    copy, text = lm.copy(), request_for(lm).forget
    before = copy.logits(text)
    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter.zero_()
    assert torch.equal(copy.logits(text), before)
    torch.autograd.grad(cross_entropy(copy, text), list(copy.model.parameters()))
    assert set(copy.model.state_dict()) == set(tiny_lm().model.state_dict())
