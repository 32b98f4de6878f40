"""Checks of hyper-parameters, for a method's `__post_init__`."""

from __future__ import annotations

from typing import Any, get_args

RANK = "lora_rank"
"""The field of methods that can train LoRA adapters in place of the weights: their rank, 0 for the weights themselves."""


def check_choice(field: str, value: str, kind: Any) -> None:
    """Raise ValueError unless `value` is one of those of the `Literal` type `kind`."""
    if value not in get_args(kind):
        raise ValueError(f"{field} must be one of {', '.join(get_args(kind))}, not {value!r}")


def check_fraction(field: str, value: float) -> None:
    """Raise ValueError unless 0 < value <= 1."""
    if not 0 < value <= 1:
        raise ValueError(f"{field} must be above 0 and at most 1, not {value!r}")


def check_positive(field: str, value: float) -> None:
    """Raise ValueError unless 0 < value."""
    if not value > 0:
        raise ValueError(f"{field} must be above 0, not {value!r}")


def check_training(lr: float, steps: int, batch: int, lora_rank: int) -> None:
    """Raise ValueError unless learning rate, steps and batch are above 0 and the LoRA rank is not below it."""
    check_positive("lr", lr)
    check_positive("steps", steps)
    check_positive("batch", batch)
    if lora_rank < 0:
        raise ValueError(f"lora_rank must be 0 (train the weights) or above, not {lora_rank!r}")
