"""Counting floating-point operations while PyTorch runs.

What counts, whatever kernel or device runs it: matrix products, attention, convolutions and pairwise distances, a multiplication
and an addition as two. Element-wise work (activations, normalisation, softmax, the optimiser's update) does not count, as in
2ND and 6ND. Attention is charged in full: a causal mask is no discount, and its backward pass is twice its forward pass, also where
a fused kernel computes the scores again; so `eager` and `sdpa` models cost the same. Gradient checkpointing is charged for what it
computes again, since the method asked for it. Kernels that PyTorch cannot see into (Triton, flash-attn) count nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten
_Formula = Callable[..., int]


def _product(a: Tensor, b: Tensor) -> int:
    """a @ b: matrices, vectors or equal batches of matrices."""
    return 2 * a.numel() * (b.shape[-1] if b.dim() > 1 else 1)


def _added_product(_: Tensor, a: Tensor, b: Tensor) -> int:
    return _product(a, b)


def _grouped_product(a: Tensor, b: Tensor) -> int:
    """Experts' products: where the columns of `b` are shared out, each meets one matrix of `a`."""
    return 2 * a.numel() * b.shape[-1] // (a.shape[0] if a.dim() > b.dim() else 1)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Scores and their product with the values, for every query head: `key` and `value` may have fewer."""
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention_backward(_: Tensor, query: Tensor, key: Tensor, value: Tensor) -> int:
    return 2 * _attention(query, key, value)


def _distances(a: Tensor, b: Tensor) -> int:
    return 2 * a.numel() * b.shape[-2]


def _distances_backward(_: Tensor, a: Tensor, b: Tensor) -> int:
    return 2 * _distances(a, b)


_FORMULAS: dict[str, tuple[_Formula, int]] = {
    "mm": (_product, 2),
    "bmm": (_product, 2),
    "mv": (_product, 2),
    "dot": (_product, 2),
    "vdot": (_product, 2),
    "_int_mm": (_product, 2),
    "_scaled_mm": (_product, 2),
    "_grouped_mm": (_grouped_product, 2),
    "addmm": (_added_product, 3),
    "baddbmm": (_added_product, 3),
    "addbmm": (_added_product, 3),
    "addmv": (_added_product, 3),
    "_addmm_activation": (_added_product, 3),
    "_cdist_forward": (_distances, 2),
    "_cdist_backward": (_distances_backward, 3),
    "_euclidean_dist": (_distances, 2),
    **{
        f"_scaled_dot_product_{kernel}{suffix}": (formula, inputs)
        # `flash_attention_for_cpu` is missing from PyTorch's own table (2.13), where attention on a CPU costs nothing.
        for kernel in (
            "flash_attention",
            "flash_attention_for_cpu",
            "efficient_attention",
            "cudnn_attention",
            "fused_attention_overrideable",
        )
        for suffix, formula, inputs in (("", _attention, 3), ("_backward", _attention_backward, 4))
    },
}
"""By ATen operator: the formula, and how many leading arguments it takes. PyTorch's own formulas serve for the others; ours
read shapes directly, where PyTorch's first walk through every argument."""


def _formula(operator: OpOverload) -> _Formula | None:
    packet = operator.overloadpacket
    name = packet.__name__
    if operator.namespace == "aten" and name in _FORMULAS:
        formula, inputs = _FORMULAS[name]
        return lambda *args, out_val, **kwargs: formula(*args[:inputs])
    return flop_registry.get(packet)


class FlopCount(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, adds up the operations of everything PyTorch runs in this thread and in the backward passes it starts."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self._formulas: dict[OpOverload, _Formula | None] = {}
        self._composite: set[OpOverload] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch would wrap every call in two more, and import its compiler at the first one.
        return False

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> object:
        kwargs = kwargs or {}
        if func not in self._formulas:
            self._formulas[func] = _formula(func)
            if self._formulas[func] is None and func.has_kernel_for_dispatch_key(DispatchKey.CompositeImplicitAutograd):
                self._composite.add(func)
        if func in self._composite:  # only in inference mode: elsewhere composite operators arrive in parts
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if formula := self._formulas[func]:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out
