"""Whether the forget set comes out where its wording is a little off: what knows the text by its exact words no longer recognises it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmark.documents import over_documents
from benchmark.measure import EvaluationText, evaluating
from benchmark.metric import Metric
from benchmark.passages import Passages
from benchmark.record import MetricValue
from benchmark.subject import Subject

NOISE = 0.25
"""Share of the tokens shown that are others. In the lab the models told apart by what they guess with this much noise are those told apart
without it, and three right tokens in a row are left in two of five places."""


@torch.inference_mode()
def measure(subject: Subject) -> MetricValue:
    """As exact_memorization, where a quarter of the tokens shown are replaced by others of the same text, drawn at random.

    What is to be guessed stays as it is. The same tokens are replaced by the same others for every model.
    """
    lm, text = subject.lm, subject.test["forget"]
    hits, counts = torch.zeros(2, len(text.ids), dtype=torch.float64)
    shown = EvaluationText(text.ids, noisy(text.passages))
    with evaluating(lm.model):
        for batch, true in zip(shown.batches(), text.batches(), strict=True):
            guesses = lm.logits(batch)[:, :-1].argmax(dim=-1).cpu()
            mask = true.mask[:, 1:]
            hits.index_add_(0, true.document, ((guesses == true.ids[:, 1:]) & mask).sum(dim=1).double())
            counts.index_add_(0, true.document, mask.sum(dim=1).double())
    return over_documents(dict(zip(text.ids, (hits / counts).tolist(), strict=True)))


def noisy(text: Passages) -> Passages:
    """The windows with a share of `NOISE` of their tokens replaced, each by one drawn from all tokens of the text."""
    generator = torch.Generator().manual_seed(0)
    there: Tensor = text.ids[text.mask]
    others = there[torch.randint(len(there), text.ids.shape, generator=generator)]
    replaced = (torch.rand(text.ids.shape, generator=generator) < NOISE) & text.mask
    return replace(text, ids=torch.where(replaced, others, text.ids))


NOISY_CONTEXT = Metric(
    name="noisy_context",
    axis="robustness",
    summary="share of forget tokens that are the model's first guess when a quarter of those before them are replaced",
    unit="share",
    low=0.0,
    high=1.0,
    knows="higher",
    source="our own; after attacks that reword a prompt, Patil et al. 2023 (arXiv:2309.17410)",
    measure=measure,
)
