"""The optimisation loop that gradient methods share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

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
) -> Generator[None]:
    """Minimise a loss with AdamW, yielding after every optimiser step.

    Args:
        lm: edited in place; every parameter that requires a gradient is trained.
        loss: given one batch from each stream, returns the scalar to be minimised.
        streams: the text that each batch is drawn from, in shuffled passes.
        lr: constant learning rate. No weight decay; gradients are clipped to norm 1, as in Yao et al. 2024.
        steps: number of optimiser steps.
        batch: windows of each stream a step.
        seed: decides the order of the text.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = [stream.shuffled(batch, generator) for stream in streams]
    parameters = [parameter for parameter in lm.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    for _ in range(steps):
        value = loss(*(next(stream) for stream in batches))
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield
