"""A membership attack that trains on each document, for no step: how large is the gradient of its loss?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmark.losses import token_nll
from benchmark.measure import BATCH_TOKENS, EvaluationText, evaluating
from benchmark.metrics.membership import SIGNED
from benchmark.model import LanguageModel
from benchmark.panel.contrast import SETS, attacked, no_contrast
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue


def measure(subject: Subject) -> MetricValue:
    """As mia_loss, of the gradient of a document's mean NLL: the mean over parameter tensors of their L2 norms.

    The model does not drop out. Parameters that the loss does not reach do not count.
    """
    if reason := no_contrast(subject):
        return MetricValue(agg_value=None, reason=reason)
    lm = subject.lm
    with evaluating(lm.model), _all_trainable(lm.model) as parameters:
        members, others = (gradient_norms(lm, subject.test[name], parameters) for name in SETS)
    return attacked(members, others)


def gradient_norms(lm: LanguageModel, text: EvaluationText, parameters: Sequence[nn.Parameter]) -> dict[str, float]:
    """Of each document, the mean over parameter tensors of the L2 norm of the gradient of its mean NLL."""
    size = max(1, BATCH_TOKENS // text.passages.ids.shape[1])
    norms = {}
    for index, id_ in enumerate(text.ids):
        windows = text.passages.take((text.passages.document == index).nonzero().flatten())
        total: list[Tensor | None] = [None] * len(parameters)
        for batch in windows.in_order(size):
            losses, _ = token_nll(lm.logits(batch), batch)
            found = torch.autograd.grad(losses.sum() / windows.predicted, parameters, allow_unused=True)
            total = [new if old is None else old if new is None else old + new for old, new in zip(total, found, strict=True)]
        norms[id_] = float(torch.tensor([float(gradient.double().norm()) for gradient in total if gradient is not None]).mean())
    return norms


@contextmanager
def _all_trainable(model: nn.Module) -> Iterator[list[nn.Parameter]]:
    """All parameters that can have a gradient, which they need for a while."""
    parameters = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


MIA_GRADNORM = Metric(
    name="mia_gradnorm",
    axis="privacy",
    summary="AUC of a membership attack by the size of a document's gradient",
    unit="AUC",
    low=0.0,
    high=1.0,
    knows="higher",
    source="Wang et al. 2024 (arXiv:2402.17012); mia_gradnorm of OpenUnlearning",
    measure=measure,
    corrected=f"in evaluation mode: with dropout on, the same model has another value each time; {SIGNED}",
    version=2,
)
