"""What a user may do where a method, or teaching, does not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark import registry
from benchmark.fields import RANK
from benchmark.method import Request
from benchmark.model import LanguageModel
from benchmark.record import Dtype, Spec

LORA_RANK = 8
"""Of the adapters that are proposed where the weights themselves cannot be trained."""


def remedies(spec: Spec, lm: LanguageModel, request: Request, checkpointed: bool) -> Iterator[str]:
    """What would make a cell's method smaller and has not been asked for: each with the option that does it."""
    fields = spec.hyperparameters
    if fields.get(RANK) == 0:
        adapted = registry.method(spec.method).build({**fields, RANK: LORA_RANK})
        if adapted.unsupported(lm, request) is None:
            yield f"train adapters in place of the weights (--set {spec.method}.{RANK}={LORA_RANK})"
    yield from of_any_training(spec.dtype, checkpointed)
    if fields.get(RANK) is None and "batch" in fields:
        yield f"take smaller batches (--set {spec.method}.batch=1)"


def of_any_training(dtype: Dtype, checkpointed: bool) -> Iterator[str]:
    """The same for whatever trains a model."""
    if not checkpointed:
        yield "keep fewer activations (--gradient-checkpointing)"
    if dtype == "float32":
        yield "halve activations and copies (--dtype bfloat16)"
