"""What a method is about to hold in memory, reckoned before it is taken, and into how small parts a batch must be cut to fit.

The tools that a method uses (`descend`, `original`, `fisher_information`) enter here what they will take: so a plan is right for
any method, and knows what only they know, such as which weights are trained. Before it has looked at a model a plan
refuses nothing and cuts nothing; a pass that runs out of memory then halves the parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from benchmark.architecture import blocks
from benchmark.memory.at_hand import USABLE, free_memory

PROBE = 32
"""Tokens of the longer of two windows that tell what the activations of a token take; the other has half as many. Few, since an
allocator may keep what they took."""


@dataclass(frozen=True)
class Activations:
    """What a backward pass needs of a forward pass, in bytes, for one window: `linear` a token, `quadratic` a pair of tokens."""

    linear: float
    quadratic: float
    logits: int
    """Bytes of a token's logits in float32. The loss and its gradient hold three times as much again for a moment."""

    def of(self, windows: int, length: int, streams: int) -> int:
        """Bytes of a loss on as many windows of each of so many streams, all held until the backward pass."""
        window = length * (self.linear + self.quadratic * length)
        return round(windows * (streams * window + 3 * self.logits * length))


@dataclass
class MemoryPlan:
    """What one cell holds. Copies of a model share the plan of the first."""

    limit: int | None = None
    """Bytes that the cell may use, the model included; None: what is free when it asks."""
    activations: Activations | None = None
    """None: not known, so nothing is planned."""
    devices: tuple[torch.device, ...] = ()
    remedies: tuple[str, ...] = ()
    """What a user may do about too little."""
    batch: int = 0
    """Windows of each kind of text that a step takes, where the method has a field `batch`."""
    parts: dict[str, int] = field(default_factory=dict)
    """Bytes by what they are for."""
    micro_batch: int | None = None
    """Windows of each stream that are run at once; None: the whole batch."""

    def look_at(self, model: PreTrainedModel, context: int, checkpointed: bool, remedies: Iterable[str]) -> None:
        """Take in a model of that context length that has just been loaded; its blocks may be going to be `checkpointed`."""
        self.activations = measured_activations(model, context, checkpointed)
        self.devices = tuple(sorted({parameter.device for parameter in model.parameters()}, key=str))
        self.remedies = tuple(remedies)
        self.parts["weights"] = size_of(model)

    def hold(self, **needs: int) -> str | None:
        """Enter what is about to be taken; why there is no room for it, None if there is."""
        free = self._free(needs)
        self.parts.update(needs)
        return None if sum(needs.values()) <= free else self._refusal(needs, free)

    def train(self, weights: Iterable[Tensor], batch: int, streams: int, length: int) -> str | None:
        """Enter what training takes, and settle the micro-batch; why there is no room for it, None if there is.

        Args:
            weights: those that are trained.
            batch: windows of each stream a step.
            streams: kinds of text a step.
            length: tokens of the longest window.
        """
        return self.settle(training_needs(weights), batch, streams, length)

    def differentiate(self, weights: Iterable[Tensor], batch: int, streams: int, length: int) -> str | None:
        """As `train`, for gradients alone."""
        return self.settle(gradient_needs(weights), batch, streams, length)

    def settle(self, needs: Mapping[str, int], batch: int, streams: int, length: int) -> str | None:
        """Enter what a backward pass takes, and settle the micro-batch; why there is no room for it, None if there is.

        Args:
            needs: bytes that it takes beside activations, by what they are for.
            batch: windows of each stream.
            streams: kinds of text.
            length: tokens of the longest window.
        """
        needs = {**needs, "activations": 0}
        free = self._free(needs)
        size = min(batch, self.micro_batch or batch)
        if self.activations is not None:
            while size > 1 and self.activations.of(size, length, streams) > free - sum(needs.values()):
                size = math.ceil(size / 2)
            needs["activations"] = self.activations.of(size, length, streams)
        self.micro_batch = size if size < batch else self.micro_batch
        self.parts.update(needs)
        return None if sum(needs.values()) <= free else self._refusal(needs, free)

    def halve(self, batch: int) -> bool:
        """Halve the micro-batch of a batch that ran out of memory; False if it was of one window already."""
        size = min(batch, self.micro_batch or batch)
        self.micro_batch = max(1, math.ceil(size / 2))
        return size > 1

    def _free(self, needs: Mapping[str, int]) -> float:
        """Bytes that can be taken for these needs, which replace earlier ones of the same name."""
        if self.activations is None:
            return math.inf
        if self.limit is not None:
            return self.limit - sum(taken for name, taken in self.parts.items() if name not in needs)
        return USABLE * free_memory(self.devices)

    def _refusal(self, needs: Mapping[str, int], free: float) -> str:
        listed = ", ".join(f"{name.replace('_', ' ')} {gigabytes(taken)}" for name, taken in needs.items() if taken)
        wanted = sum(needs.values())
        remedies = ", or ".join([*self.remedies, f"find {gigabytes(wanted - free)} more"])
        at_once = " with one window at a time" if needs.get("activations") else ""
        return (
            f"needs {gigabytes(wanted)} of memory beside what it holds already ({listed}){at_once}; "
            f"{gigabytes(max(0.0, free))} can be had: {remedies}"
        )


def size_of(model: PreTrainedModel) -> int:
    """Bytes of a model's parameters and buffers, tied ones once."""
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def gradient_needs(weights: Iterable[Tensor]) -> dict[str, int]:
    """Bytes that gradients in float32 take, by what they are for.

    Where a weight is used for several streams, its gradients are added up: the largest one is there twice for a moment.
    """
    weights = list(weights)
    largest = max((4 * weight.numel() for weight in weights), default=0)
    lower = sum(weight.nbytes for weight in weights if weight.dtype != torch.float32)
    return {"gradients": 4 * sum(weight.numel() for weight in weights) + lower, "added_up": largest}


def training_needs(weights: Iterable[Tensor]) -> dict[str, int]:
    """Bytes that AdamW in float32 takes beside the weights, by what they are for."""
    weights = list(weights)
    state = 8 * sum(weight.numel() for weight in weights)
    copies = 4 * sum(weight.numel() for weight in weights if weight.dtype != torch.float32)
    return {**gradient_needs(weights), "optimiser_state": state, "master_copies": copies}


def measured_activations(model: PreTrainedModel, context: int, checkpointed: bool) -> Activations:
    """What a forward pass keeps for the backward pass, from two short windows; with checkpointed layers, what it will keep."""
    longer = min(PROBE, context)
    shorter = longer // 2
    first, second = (_kept(model, length, checkpointed) / length for length in (shorter, longer))
    quadratic = max(0.0, (second - first) / (longer - shorter))
    return Activations(first - quadratic * shorter, quadratic, 4 * model.config.get_text_config().vocab_size)


def _kept(model: PreTrainedModel, length: int, checkpointed: bool) -> float:
    """Bytes that one window of so many tokens leaves behind for a backward pass."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    layers = list(blocks(model))
    inputs: list[Tensor] = []
    kept: dict[int, tuple[torch.UntypedStorage, bool]] = {}
    inside = False

    def enter(layer: nn.Module, given: tuple[Any, ...]) -> None:
        nonlocal inside
        inside = True
        inputs.extend(value for value in given[:1] if isinstance(value, Tensor))

    def leave(*ignored: object) -> None:
        nonlocal inside
        inside = False

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept.setdefault(storage.data_ptr(), (storage, inside))  # held, so that nothing else comes to its address
        return tensor

    hooks = [hook for layer in layers for hook in (layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave))]
    ids = torch.zeros(1, length, dtype=torch.long, device=model.device)
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
            F.cross_entropy(logits.float().flatten(0, 1), ids.flatten())
    finally:
        for hook in hooks:
            hook.remove()
    of_layers = sum(storage.nbytes() for storage, within in kept.values() if within)
    of_others = sum(storage.nbytes() for storage, within in kept.values() if not within)
    if checkpointed and layers:  # a layer keeps its input alone, and one layer at a time is computed again
        return of_others + of_layers / len(layers) + sum(given.nbytes for given in inputs)
    return of_others + of_layers


_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def gigabytes(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.2f} GB"
