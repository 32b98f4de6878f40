"""Measuring a model on evaluation text, document by document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.corpus import Document
from benchmark.losses import token_nll
from benchmark.model import LanguageModel
from benchmark.passages import Passages
from benchmark.record import Documents, Measurement

BATCH_TOKENS = 1024
"""Tokens, padding included, run through the model at once: few enough for the lab's logits to stay in a processor's cache."""


SHORTEST_BEGINNING = 128
"""Tokens of a document that it is worth measuring it on."""


class Diverged(Exception):  # noqa: N818 -- a finding about a method, not an error
    """The model's output is no longer finite."""


@dataclass(frozen=True)
class EvaluationText:
    """The documents of one evaluation set as windows, with their ids."""

    ids: tuple[str, ...]
    passages: Passages

    def batches(self) -> Iterator[Passages]:
        """Batches of about `BATCH_TOKENS`."""
        return self.passages.in_order(max(1, BATCH_TOKENS // self.passages.ids.shape[1]))


def evaluation_text(lm: LanguageModel, documents: Sequence[Document], most_tokens: int) -> EvaluationText:
    """Documents cut to beginnings of the same length, as long as `most_tokens` allows.

    Documents differ more than their parts do, so many short ones tell more than a few whole ones. Where beginnings would be shorter
    than `SHORTEST_BEGINNING`, there are fewer documents, the leading ones; never fewer than two, as one gives no interval. A document
    too short for a window is left out.
    """
    windows = lm.passages(documents)
    there, numbers = torch.unique(windows.document, return_inverse=True)
    windows = replace(windows, document=numbers)
    documents = [documents[index] for index in there.tolist()]
    lengths = torch.zeros(windows.documents, dtype=torch.long).index_add_(0, windows.document, windows.mask.sum(dim=1))
    count = windows.documents
    while count > 2 and int(lengths[:count].clamp(max=SHORTEST_BEGINNING).sum()) > most_tokens:
        count -= 1
    windows = windows.take((windows.document < count).nonzero().flatten()).beginnings(_beginning(lengths[:count].tolist(), most_tokens))
    return EvaluationText(tuple(document.id for document in documents[:count]), windows)


def _beginning(lengths: Sequence[int], most_tokens: int) -> int:
    """The longest beginning that all documents can have alike, the shorter ones being whole."""
    left = most_tokens
    for index, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - index)
        if length > share:
            return max(share, SHORTEST_BEGINNING)
        left -= length
    return max(lengths)


@torch.inference_mode()
def measure(lm: LanguageModel, sets: Mapping[str, EvaluationText]) -> Measurement:
    """Token NLL and next-token accuracy of every document of every set.

    A window's first token has no context and is not predicted. Padding, batch size and order do not matter. The model is left
    as it was, in training mode if it was.

    Raises:
        Diverged: a loss is not finite.
    """
    with evaluating(lm.model):
        return {name: _measure_set(lm, name, text) for name, text in sets.items()}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, for a while; every module then goes back to the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    model.train(False)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _measure_set(lm: LanguageModel, name: str, text: EvaluationText) -> Documents:
    count = len(text.ids)
    nll = torch.zeros(count, dtype=torch.float64)
    correct, tokens = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    for batch in text.batches():
        logits = lm.logits(batch)
        losses, mask = token_nll(logits, batch)
        hits = (logits.argmax(dim=-1)[:, :-1] == batch.ids[:, 1:].to(logits.device)) & mask
        nll.index_add_(0, batch.document, losses.double().sum(dim=1).cpu())
        correct.index_add_(0, batch.document, hits.sum(dim=1).cpu())
        tokens.index_add_(0, batch.document, mask.sum(dim=1).cpu())
    if not bool(nll.isfinite().all()):
        raise Diverged(f"the loss on the {name} set is not finite")
    return Documents(ids=text.ids, nll=tuple(nll.tolist()), correct=tuple(correct.tolist()), tokens=tuple(tokens.tolist()))


@torch.inference_mode()
def divergence(lm: LanguageModel, reference: LanguageModel, text: EvaluationText) -> float:
    """Mean Jensen-Shannon distance between the two models' next-token distributions, bits a token, in [0, 1]."""
    total, count = 0.0, 0
    with evaluating(lm.model), evaluating(reference.model):
        for batch in text.batches():
            mask = batch.mask[:, 1:].to(lm.device)
            distance = jensen_shannon(lm.logits(batch)[:, :-1], reference.logits(batch)[:, :-1].to(lm.device))
            total += float(distance.double().masked_fill(~mask, 0.0).sum())
            count += int(mask.sum())
    return total / count


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of two (..., vocabulary) logits over the last dimension, in bits."""
    p, q = F.log_softmax(first, dim=-1), F.log_softmax(second, dim=-1)
    mixture = torch.logaddexp(p, q) - math.log(2)
    both = (p.exp() * (p - mixture)).sum(dim=-1) + (q.exp() * (q - mixture)).sum(dim=-1)
    return both.clamp_min(0) / (2 * math.log(2))
