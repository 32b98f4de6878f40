"""Keeping a step of a trajectory: only the tensors that changed, and on disk, so that memory does not grow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

Digests = Mapping[str, bytes]
"""A digest of every tensor of a model, by name."""


def tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """The model's state dict, where a tensor that goes by several names (tied weights) stands under the first of them alone."""
    found = {}
    seen = set()
    for name, tensor in model.state_dict().items():
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() == 0 or place not in seen:
            seen.add(place)
            found[name] = tensor
    return found


def original_name(name: str) -> str:
    """What a tensor was called before adapters were attached: peft keeps the adapted layer as its `base_layer`."""
    return name.replace(".base_layer.", ".")


def digests(model: PreTrainedModel) -> Digests:
    """A digest of every tensor of the model."""
    return {name: _digest(tensor) for name, tensor in tensors(model).items()}


def save(model: PreTrainedModel, base: Digests, file: Path) -> None:
    """Write the tensors that are not as in `base`, new ones included. On a CPU none of them is copied for it."""
    changed = {name: _plain(tensor) for name, tensor in tensors(model).items() if base.get(original_name(name)) != _digest(tensor)}
    save_file(changed, file)


def restore(model: PreTrainedModel, base: Mapping[str, Tensor], file: Path) -> int:
    """Bring a model to a saved step.

    Args:
        model: one with the modules of the step's: the one that was saved, or another like it.
        base: the untouched model's state dict; it may be this model's own.
        file: what `save` wrote.

    Returns:
        How many elements differ from the untouched model.

    Raises:
        ValueError: the model has a tensor that neither the snapshot nor the untouched model knows: a module was
            attached after the first step; or the snapshot has one that the model lacks.
    """
    saved = load_file(file)
    there = tensors(model)
    if strange := sorted(saved.keys() - there.keys()):
        raise ValueError(f"tensor {strange[0]!r} was put into the model; a method that leaves more than weights there declares `inserts`")
    changed = changed_elements(saved, base)
    with torch.no_grad():
        for name, tensor in there.items():
            value = saved.get(name, base.get(original_name(name)))
            if value is None:
                raise ValueError(f"tensor {name!r} was added after the step was saved; attach modules before the first yield")
            tensor.copy_(value)
    return changed


def changed_elements(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> int:
    """How many elements of these tensors are not as in `base`; all of those that `base` does not have."""
    return sum(_differing(tensor, base.get(name)) for name, tensor in state.items())


def _differing(tensor: Tensor, before: Tensor | None) -> int:
    if before is None or before.shape != tensor.shape:
        return tensor.numel()
    return int((tensor.cpu() != before.cpu()).sum())


def _digest(tensor: Tensor) -> bytes:
    return hashlib.blake2b(_plain(tensor).view(-1).view(torch.uint8).numpy().data, digest_size=16).digest()


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()
