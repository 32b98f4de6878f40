"""Losses that methods share, averaged over real tokens: padding never counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.model import LanguageModel
from benchmark.passages import Passages


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
    nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), batch.ids[:, 1:], reduction="none")
    return torch.where(mask, nll, 0.0), mask


def cross_entropy(lm: LanguageModel, batch: Passages) -> Tensor:
    """Mean negative log-likelihood of the next token over all real tokens of the batch, a scalar in nats."""
    nll, mask = token_nll(lm.logits(batch), batch)
    return nll.sum() / mask.sum()
