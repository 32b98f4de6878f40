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
"""A digest of every tensor of a state dict, by name."""


def digests(model: PreTrainedModel) -> Digests:
    """A digest of every tensor in the model's state dict."""
    return {name: _digest(tensor) for name, tensor in model.state_dict().items()}


def save(model: PreTrainedModel, base: Digests, file: Path) -> None:
    """Write the tensors that are not as in `base`, new ones included."""
    state = model.state_dict()
    changed = {name: _plain(tensor) for name, tensor in state.items() if base.get(name) != _digest(tensor)}
    save_file(changed, file)


def restore(model: PreTrainedModel, base: Mapping[str, Tensor], file: Path | None) -> int:
    """Bring the model to a saved step, or to the untouched state where `file` is None.

    Args:
        model: the model at the end of its trajectory, whatever modules that has attached.
        base: the untouched model's state dict.
        file: what `save` wrote.

    Returns:
        How many elements differ from the untouched model.

    Raises:
        ValueError: the model has a tensor that neither the snapshot nor the untouched model knows: a module was
            attached after the first step.
    """
    saved = {} if file is None else load_file(file)
    changed = 0
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name not in saved and name not in base:
                if file is None:  # step 0 of a method that attached modules: they are not part of the target
                    continue
                raise ValueError(f"tensor {name!r} was added after the step was saved; attach modules before the first yield")
            value = saved.get(name, base.get(name))
            assert value is not None
            tensor.copy_(value)
            if name in saved:
                changed += int((value != base[name].cpu()).sum()) if name in base else value.numel()
    return changed


def _digest(tensor: Tensor) -> bytes:
    return hashlib.blake2b(_plain(tensor).view(-1).view(torch.uint8).numpy().data, digest_size=16).digest()


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()
