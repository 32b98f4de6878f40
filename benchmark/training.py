"""The optimisation that gradient methods share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from benchmark.memory.micro_batches import gradients
from benchmark.memory.plan import size_of
from benchmark.method import Unsupported
from benchmark.model import LanguageModel
from benchmark.passages import Passages


def descend(
    lm: LanguageModel,
    loss: Callable[..., Tensor],
    streams: Sequence[Passages],
    *,
    lr: float,
    steps: int,
    batch: int,
    seed: int,
    lora_rank: int = 0,
    trained: Callable[[str], bool] = lambda name: True,
    gradient: Callable[[str, Tensor], Tensor] = lambda name, gradient: gradient,
) -> Generator[None]:
    """Minimise a loss with AdamW, yielding after every optimiser step.

    Weights of lower precision are trained through copies in float32: a small step on a bfloat16 weight is rounded away.

    A batch that does not fit into memory is run in parts, whose gradients add up to that of the whole where the loss is of the
    forms that `benchmark.memory.micro_batches` names.

    Args:
        lm: edited in place.
        loss: given one batch from each stream, returns the scalar to be minimised.
        streams: the text that each batch is drawn from, in shuffled passes.
        lr: constant learning rate. No weight decay; gradients are clipped to norm 1, as in Yao et al. 2024.
        steps: number of optimiser steps.
        batch: windows of each stream a step.
        seed: decides the order of the text, and what LoRA adapters start from.
        lora_rank: train LoRA adapters of this rank and leave the weights alone; 0 trains the weights.
        trained: which parameters to train, by name, of those that require a gradient.
        gradient: what to make of a parameter's gradient, by name, before all are clipped.

    Raises:
        Unsupported: there is no room for it, even with one window at a time.
    """
    required = {parameter: parameter.requires_grad for parameter in lm.model.parameters()}
    if lora_rank:
        from benchmark import lora  # it imports peft, which takes its time

        lora.attach(lm.model, lora_rank, seed)
    generator = torch.Generator().manual_seed(seed)
    batches = [stream.shuffled(batch, generator) for stream in streams]
    weights = {name: weight for name, weight in lm.model.named_parameters() if weight.requires_grad and trained(name)}
    try:
        if reason := lm.plan.train(weights.values(), batch, len(streams), max(stream.longest for stream in streams)):
            raise Unsupported(reason)
        masters = {name: weight if weight.dtype == torch.float32 else weight.detach().float() for name, weight in weights.items()}
        # one kernel for all of a GPU's weights, which needs no second copy of their state as PyTorch's own choice there does
        optimizer = torch.optim.AdamW(masters.values(), lr=lr, weight_decay=0.0, fused=True if lm.device.type == "cuda" else None)
        for _ in range(steps):
            found = gradients(lm, loss, [next(stream) for stream in batches], weights)
            for name in list(found):
                masters[name].grad = gradient(name, found.pop(name))
            torch.nn.utils.clip_grad_norm_(masters.values(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            with torch.no_grad():
                for name, weight in weights.items():
                    if masters[name] is not weight:
                        weight.copy_(masters[name])
            yield
    finally:
        for parameter, before in required.items():
            parameter.requires_grad_(before)


def original(lm: LanguageModel, lora_rank: int = 0) -> Callable[[], AbstractContextManager[LanguageModel]]:
    """A way back to the model as it is now: `with before() as lm: ...`, without gradients.

    Without LoRA it is a frozen copy, the one extra copy of the model that a method may hold. With LoRA it is the model itself,
    its adapters switched off.

    Raises:
        Unsupported: there is no room for the copy.
    """
    if not lora_rank and (reason := lm.plan.hold(second_model=size_of(lm.model))):
        raise Unsupported(reason)
    frozen = None if lora_rank else lm.copy()

    @contextmanager
    def before() -> Iterator[LanguageModel]:
        with torch.no_grad():
            if frozen is not None:
                yield frozen
            else:
                from benchmark import lora

                with lora.switched_off(lm.model):
                    yield lm

    return before
