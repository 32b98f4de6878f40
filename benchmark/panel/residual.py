"""The residual stream behind every layer, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmark.architecture import layers_of
from benchmark.measure import BATCH_TOKENS
from benchmark.model import LanguageModel
from benchmark.panel.documents import over_documents
from benchmark.passages import Passages
from benchmark.record import MetricValue


class Tokens(NamedTuple):
    """Predicted tokens of some windows, one after the other."""

    streams: list[Tensor]
    """Behind each layer, first to last: what the model has (tokens, hidden) where it predicts them."""
    ids: Tensor
    """(tokens,) what they are."""
    document: Tensor
    """(tokens,) the index of each one's document."""


@torch.no_grad()
def predicted_tokens(lm: LanguageModel, text: Passages) -> Iterator[Tokens]:
    """All tokens of a text that are predicted, some windows at a time, on the device of the model.

    Raises:
        ValueError: an architecture that is not described in `benchmark.architecture`.
    """
    for batch in text.in_order(max(1, BATCH_TOKENS // text.ids.shape[1])):
        streams = residual_streams(lm, batch)
        batch = batch.to(lm.device)
        mask = batch.mask[:, 1:]
        yield Tokens(
            [stream[:, :-1].to(lm.device)[mask] for stream in streams],
            batch.ids[:, 1:][mask],
            batch.document[:, None].expand_as(mask)[mask],
        )


def residual_streams(lm: LanguageModel, batch: Passages) -> list[Tensor]:
    """The residual stream (n, length, hidden) behind every layer, first to last, and behind what is inserted there."""
    found: list[Tensor] = []

    def take(layer: nn.Module, inputs: tuple[object, ...], output: Any) -> None:
        found.append(output if isinstance(output, Tensor) else output[0])

    hooks = [layer.register_forward_hook(take) for layer in layers_of(lm.model)]
    batch = batch.to(lm.device)
    try:
        lm.model.base_model(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def predicted_by_document(text: Passages) -> Tensor:
    """(documents,) number of predicted tokens of each."""
    return torch.zeros(text.documents, dtype=torch.float64).index_add_(0, text.document, text.mask[:, 1:].sum(dim=1).double())


def best_layer(ids: Sequence[str], values: Mapping[str, Tensor]) -> MetricValue:
    """What can be read off anywhere: `top1` of the layer where it is highest, with the interval of that layer's documents.

    Args:
        ids: of the documents.
        values: `top1` and whatever else is to be told, (layers, documents) each; told by layer, means over documents.
    """
    means = {name: value.mean(dim=1).tolist() for name, value in values.items()}
    best = max(range(len(means["top1"])), key=means["top1"].__getitem__)
    by_layer = {f"layer {layer}": {name: mean[layer] for name, mean in means.items()} for layer in range(len(means["top1"]))}
    found = over_documents(dict(zip(ids, values["top1"][best].tolist(), strict=True)))
    return found.model_copy(update={"value_by_index": by_layer})
