"""Whether the forget set can still be read off inside the model, though its output does not say it."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from benchmark.architecture import layers_of, readout
from benchmark.measure import evaluating
from benchmark.panel.metric import Metric
from benchmark.panel.residual import best_layer, predicted_by_document, predicted_tokens
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue


@torch.no_grad()
def measure(subject: Subject) -> MetricValue:
    """Share of each forget document's tokens (test half) that are the first guess of the best layer; the mean over documents.

    A layer's guess is what the final norm and the output embedding make of the residual stream behind it. Behind the last layer it is
    the model's own. The mean over documents of token NLL and of the share are given for every layer; the interval is of the
    best layer's documents.

    Raises:
        ValueError: an architecture that is not described in `benchmark.architecture`, or that predicts in another way.
    """
    lm, text = subject.lm, subject.test["forget"]
    logits_of, layers = readout(lm.model), len(layers_of(lm.model))
    nll, hits = torch.zeros(2, layers, len(text.ids), dtype=torch.float64)
    with evaluating(lm.model):
        for tokens in predicted_tokens(lm, text.passages):
            document = tokens.document.cpu()
            for layer, stream in enumerate(tokens.streams):
                logits = logits_of(stream).float()
                nll[layer].index_add_(0, document, F.cross_entropy(logits, tokens.ids, reduction="none").double().cpu())
                hits[layer].index_add_(0, document, (logits.argmax(dim=-1) == tokens.ids).double().cpu())
    counts = predicted_by_document(text.passages)
    return best_layer(text.ids, {"top1": hits / counts, "nll": nll / counts})


LOGIT_LENS = Metric(
    name="logit_lens",
    axis="robustness",
    summary="share of forget tokens that the best layer's first guess is, read by the model's own output embedding",
    unit="share",
    low=0.0,
    high=1.0,
    knows="higher",
    source="nostalgebraist 2020, 'interpreting GPT: the logit lens'; over layers as in Lynch et al. 2024 (arXiv:2402.16835), section 4",
    measure=measure,
)
