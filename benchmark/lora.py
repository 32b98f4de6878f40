"""Low-rank adapters on every linear layer, trained in place of the weights (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


def attach(model: PreTrainedModel, rank: int, seed: int) -> None:
    """Put an adapter on every linear layer but the output head; nothing else can be trained from then on.

    An update is scaled by 2, whatever the rank. The adapters begin as no change at all, from weights that `seed` decides.
    """
    transposed = any(isinstance(module, Conv1D) for module in model.modules())
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", fan_in_fan_out=transposed)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The model as if it had no adapters."""
    adapted = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for module in adapted:
        module.enable_adapters(False)
    try:
        yield
    finally:
        for module in adapted:
            module.enable_adapters(True)


@torch.no_grad()
def fold(model: nn.Module) -> None:
    """Add what the adapters do to the weights, and leave adapters that do nothing: the model computes what it did."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            for adapter in module.active_adapters:
                module.get_base_layer().weight += module.get_delta_weight(adapter)  # type: ignore[operator]
                module.lora_B[adapter].weight.zero_()  # type: ignore[index, union-attr]


def merge(model: nn.Module) -> None:
    """Add what the adapters do to the weights, and take the adapters out: the model is an ordinary one again."""
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
    vars(model).pop("peft_config", None)  # peft's own note that there are some
