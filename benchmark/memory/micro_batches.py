"""The gradient of a loss on a batch, worked out in parts where memory does not hold all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from benchmark.memory.plan import out_of_memory
from benchmark.method import Unsupported
from benchmark.model import LanguageModel
from benchmark.passages import Passages


def gradients(
    lm: LanguageModel, loss: Callable[..., Tensor], batches: Sequence[Passages], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The gradient of a loss at each weight, by name and in float32; weights that it does not depend on are left out.

    A batch that does not fit into memory (see `benchmark.memory.plan`) is run in parts, the same for every stream, and their
    gradients are added up. The sum is the gradient of the whole batch where the loss is a weighted sum of terms of one stream
    each, and a term is a mean over the tokens of `lm.logits` or `lm.hidden`, a mean over the windows of `sequence_nll`, or
    `total_nll`. It only comes near where a loss mixes windows in another way, and where it changes what it remembers each time
    it is called: PDU's multiplier moves once a part, by that part's excess.

    Args:
        lm: left as it was.
        loss: given one batch of each stream, returns a scalar.
        batches: as many windows of each stream.
        weights: of the model, by name.

    Raises:
        Unsupported: there is no room for it, even with one window at a time.
    """
    whole = len(batches[0])
    if "gradients" not in lm.plan.parts and (
        reason := lm.plan.differentiate(weights.values(), whole, len(batches), max(batch.longest for batch in batches))
    ):
        raise Unsupported(reason)
    while True:
        summed: dict[str, Tensor] = {}
        for weight in weights.values():
            weight.grad = None
        try:
            for parts in zip(*(batch.parts(lm.plan.micro_batch or whole) for batch in batches), strict=True):
                torch.autograd.backward(loss(*parts), inputs=list(weights.values()))
                for name, weight in weights.items():
                    if weight.dtype != torch.float32 and weight.grad is not None:
                        summed[name] = summed[name].add_(weight.grad) if name in summed else weight.grad.float()
                        weight.grad = None
            for name, weight in weights.items():
                if weight.grad is not None:
                    summed[name], weight.grad = weight.grad, None
            return summed
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or not lm.plan.halve(whole):
                raise
        # from the next round on nothing holds what the pass that failed had worked out
        summed.clear()
        for weight in weights.values():
            weight.grad = None
        if lm.device.type == "cuda":
            torch.cuda.empty_cache()
