"""Whether light damage to the weights brings the forget set back: what is only hidden comes out, what is gone does not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from benchmark.architecture import linear_layers
from benchmark.measure import measure
from benchmark.model import LanguageModel
from benchmark.panel.documents import over_documents
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue

GROUP = 64
"""Inputs whose weights share a scale in 4 bits."""

PRUNED = 0.2
"""Share of each matrix that is set to zero."""

NOISE = 0.05
"""Standard deviation of the noise, by the root mean square of the matrix."""


def quantised(weight: Tensor, bits: int, group: int | None = None) -> Tensor:
    """Round to the nearest of 2^bits - 1 values that lie evenly about zero, and back.

    Args:
        weight: (outputs, inputs), float32.
        bits: of each weight.
        group: inputs of an output that share a scale, the last group of an output being what is left; None: all of them.
            The largest magnitude of a group is one of the values.
    """
    outputs, inputs = weight.shape
    group = group or inputs
    groups = F.pad(weight, (0, -inputs % group)).view(outputs, -1, group)
    levels = 2 ** (bits - 1) - 1
    largest = groups.abs().amax(dim=-1, keepdim=True)
    steps = (groups / largest.clamp_min(torch.finfo(weight.dtype).tiny) * levels).round()
    rounded: Tensor = steps * (largest / levels)
    return rounded.view(outputs, -1)[:, :inputs]


def pruned(weight: Tensor, share: float) -> Tensor:
    """The weights of smallest magnitude set to zero: that share of all, rounded down, and more where others are as small."""
    count = int(share * weight.numel())
    if not count:
        return weight
    threshold = weight.abs().flatten().kthvalue(count).values
    return weight.masked_fill(weight.abs() <= threshold, 0.0)


def noised(weight: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise added, its standard deviation `size` times the root mean square of the weights."""
    noise = torch.randn(weight.shape, generator=generator).to(weight.device)
    return weight + size * weight.square().mean().sqrt() * noise


@torch.no_grad()
def perturb(lm: LanguageModel, change: Callable[[Tensor], Tensor]) -> None:
    """Put another matrix in the place of every linear layer's (outputs, inputs); adapters are first added to the weights.

    Embeddings and the output embedding, tied to each other or not, norms and biases are left alone.
    """
    if any(".lora_" in name for name, _ in lm.model.named_parameters()):
        from benchmark import lora  # it imports peft, which takes its time

        lora.fold(lm.model)
    for layer in linear_layers(lm.model):
        matrix = layer.weight.T if isinstance(layer, Conv1D) else layer.weight
        matrix.copy_(change(matrix.float()))


def fall(subject: Subject, change: Callable[[Tensor], Tensor]) -> MetricValue:
    """How much the mean token NLL of each forget document falls when the weights are changed, in nats; the mean over documents.

    Positive: the text comes back.

    Raises:
        Diverged: a loss is not finite.
    """
    before = subject.measured["forget"]
    with subject.altered() as lm:
        perturb(lm, change)
        after = measure(lm, {"forget": subject.test["forget"]})["forget"]
    each = zip(before.ids, before.nll, after.nll, before.tokens, strict=True)
    return over_documents({name: (loss - damaged) / tokens for name, loss, damaged, tokens in each})


def measure_int8(subject: Subject) -> MetricValue:
    """`fall` where weights are rounded to 8 bits, each output of a layer with a scale of its own."""
    return fall(subject, lambda weight: quantised(weight, 8))


def measure_int4(subject: Subject) -> MetricValue:
    """`fall` where weights are rounded to 4 bits, each `GROUP` inputs of an output with a scale of their own."""
    return fall(subject, lambda weight: quantised(weight, 4, GROUP))


def measure_pruned(subject: Subject) -> MetricValue:
    """`fall` where the `PRUNED` smallest weights of each matrix are set to zero."""
    return fall(subject, lambda weight: pruned(weight, PRUNED))


def measure_noised(subject: Subject) -> MetricValue:
    """`fall` where Gaussian noise of `NOISE` times its root mean square is added to each matrix, the same noise for every model."""
    generator = torch.Generator().manual_seed(0)
    return fall(subject, lambda weight: noised(weight, NOISE, generator))


def _card(name: str, summary: str, source: str, measure: Callable[[Subject], MetricValue]) -> Metric:
    return Metric(
        name=name,
        axis="robustness",
        summary=f"how much the forget loss falls when {summary}",
        unit="nats a token",
        low=None,
        high=None,
        knows="neither",
        source=source,
        measure=measure,
    )


QUANTISED_INT8 = _card(
    "quantised_int8",
    "weights are rounded to 8 bits",
    "Zhang et al. 2024 (arXiv:2410.16454), section 4: round to nearest, symmetric",
    measure_int8,
)
QUANTISED_INT4 = _card(
    "quantised_int4",
    "weights are rounded to 4 bits",
    "Zhang et al. 2024 (arXiv:2410.16454), section 4: round to nearest, symmetric, here in groups of 64",
    measure_int4,
)
PRUNED_WEIGHTS = _card(
    "pruned",
    "the smallest fifth of the weights is set to zero",
    "magnitude pruning, Han et al. 2015 (arXiv:1506.02626)",
    measure_pruned,
)
NOISED_WEIGHTS = _card(
    "noised",
    "a little noise is added to the weights",
    "the same thought as Zhang et al. 2024 (arXiv:2410.16454), with noise in the place of rounding",
    measure_noised,
)
