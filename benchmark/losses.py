"""Losses that methods share, averaged over real tokens: padding never counts."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from benchmark.model import LanguageModel
from benchmark.passages import Passages

IGNORED = -100
"""Target of a position that predicts nothing."""


def token_nll(logits: Tensor, batch: Passages) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of every next token, and which of them are real.

    Args:
        logits: (n, length, vocabulary).
        batch: the windows that gave them.

    Returns:
        (n, length - 1) nats, 0 where padded, and the (n, length - 1) mask of predicted tokens.
    """
    batch = batch.to(logits.device)
    mask = batch.mask[:, 1:]
    # every position is kept, the last with nothing to predict, since leaving it out would copy the logits
    targets = F.pad(batch.ids[:, 1:].masked_fill(~mask, IGNORED), (0, 1), value=IGNORED)
    nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return nll.view_as(batch.ids)[:, :-1], mask


def cross_entropy(lm: LanguageModel, batch: Passages) -> Tensor:
    """Mean negative log-likelihood of the next token over all real tokens of the batch, a scalar in nats."""
    nll, mask = token_nll(lm.logits(batch), batch)
    return nll.sum() / mask.sum()
