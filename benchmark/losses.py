"""Losses that methods share, averaged over real tokens: padding never counts."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from benchmark.model import LanguageModel, weighed
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


def label_cross_entropy(lm: LanguageModel, batch: Passages, labels: Tensor) -> Tensor:
    """As `cross_entropy`, but token i of a window is to be predicted as `labels[i]` (n, length); the model reads the text."""
    nll, mask = token_nll(lm.logits(batch), replace(batch, ids=labels))
    return nll.sum() / mask.sum()


def sequence_nll(lm: LanguageModel, batch: Passages) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood (n,) of each window as a whole, in nats, and the number (n,) of tokens that it sums over.

    Of a part of a batch, windows count alike in the gradient, where the logits have the tokens count alike.
    """
    nll, mask = token_nll(lm.logits(batch), batch)
    whole = batch.part_of
    share = 1.0 if whole is None else len(batch) / len(whole) * whole.predicted / batch.predicted
    return weighed(nll.sum(dim=1), share), mask.sum(dim=1)


def total_nll(lm: LanguageModel, batch: Passages) -> Tensor:
    """Negative log-likelihood of all real tokens of the batch together, a scalar in nats.

    Of a part of a batch, every token counts in full in the gradient, where the logits have it count for its share of the batch.
    """
    nll, _ = token_nll(lm.logits(batch), batch)
    whole = batch.part_of
    return weighed(nll.sum(), 1.0 if whole is None else whole.predicted / batch.predicted)


def kl_divergence(reference: Tensor, logits: Tensor, batch: Passages) -> Tensor:
    """Mean KL(reference || model) of the next-token distributions over all real tokens of the batch, a scalar in nats.

    Args:
        reference: (n, length, vocabulary) logits of the distribution to stay close to.
        logits: (n, length, vocabulary) of the model.
        batch: the windows that gave both.
    """
    mask = batch.mask[:, 1:].to(logits.device)
    towards = F.log_softmax(reference[:, :-1].to(logits.device), dim=-1)
    divergence = F.kl_div(F.log_softmax(logits[:, :-1], dim=-1), towards, reduction="none", log_target=True).sum(dim=-1)
    return divergence.masked_fill(~mask, 0.0).sum() / mask.sum()
