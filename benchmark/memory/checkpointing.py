"""Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): a block's activations are computed again, not kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from benchmark.architecture import blocks


def checkpoint_blocks(model: PreTrainedModel) -> None:
    """Keep of each block its input alone, wherever a gradient is worked out; results are the same.

    transformers' own checkpointing works in training mode alone, in which some families would also drop activations at random.
    """
    for block in blocks(model):
        block.forward = partial(_recomputed, block.forward)


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """One call of a block's `forward`, whose arguments are the family's own affair."""
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
