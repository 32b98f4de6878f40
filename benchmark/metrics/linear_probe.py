"""Whether a simple classifier, trained on what is inside the model, still finds the forget set there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.architecture import layers_of
from benchmark.measure import evaluating
from benchmark.panel.metric import Metric
from benchmark.panel.residual import best_layer, predicted_by_document, predicted_tokens
from benchmark.panel.subject import Subject
from benchmark.passages import Passages
from benchmark.record import MetricValue

RETAIN_TOKENS = 16384
"""Most tokens of the text to be kept that a probe is trained on, the leading ones."""

RIDGE = 0.01
"""Added to the diagonal of the features' correlation matrix."""


@dataclass(frozen=True)
class Probe:
    """A linear classifier of tokens, fitted by least squares to one-hot targets."""

    mean: Tensor
    """(hidden,) of the training tokens."""
    deviation: Tensor
    """(hidden,)"""
    weight: Tensor
    """(hidden, classes)"""
    bias: Tensor
    """(classes,)"""

    def scores(self, streams: Tensor) -> Tensor:
        """(tokens, classes) of residual streams (tokens, hidden)."""
        return ((streams.double() - self.mean) / self.deviation) @ self.weight + self.bias


class Moments:
    """Sums over training tokens that a probe is fitted to: as much memory whatever the text, hidden x (hidden + classes)."""

    def __init__(self, hidden: int, classes: int, device: torch.device) -> None:
        """Of no tokens yet."""
        self.features = torch.zeros(hidden, dtype=torch.float64, device=device)
        self.products = torch.zeros(hidden, hidden, dtype=torch.float64, device=device)
        self.by_class = torch.zeros(classes, hidden, dtype=torch.float64, device=device)
        self.counts = torch.zeros(classes, dtype=torch.float64, device=device)

    def add(self, streams: Tensor, classes: Tensor) -> None:
        """Take in residual streams (tokens, hidden) and the class (tokens,) that each should be."""
        x = streams.double()
        self.features += x.sum(dim=0)
        self.products += x.T @ x
        self.by_class.index_add_(0, classes, x)
        self.counts += torch.bincount(classes, minlength=len(self.counts))

    def probe(self, ridge: float) -> Probe:
        """Least squares on centred features of unit variance, with an intercept: W = (X'X / n + ridge I)^-1 X'Y / n."""
        count = self.counts.sum()
        mean, share = self.features / count, self.counts / count
        covariance = self.products / count - torch.outer(mean, mean)
        variance = covariance.diagonal().clamp_min(0)
        deviation = torch.where(variance > 0, variance, 1.0).sqrt()
        correlation = covariance / torch.outer(deviation, deviation)
        correlation.diagonal().add_(ridge)
        with_classes = (self.by_class / count - torch.outer(share, mean)) / deviation
        return Probe(mean, deviation, torch.linalg.solve(correlation, with_classes.T), share)


@torch.no_grad()
def measure(subject: Subject) -> MetricValue:
    """Share of each forget document's tokens (test half) that the best layer's probe has right; the mean over documents.

    The probe of a layer gives the next token from the residual stream behind it. It is trained on other documents than it is tried
    on: the validation half of the forget set, and the leading `RETAIN_TOKENS` of the text to be kept that methods see. It is linear
    least squares to one-hot targets (`Moments.probe`, in float64) with a ridge of `RIDGE`; its classes are the tokens that its training
    text has, so that it is wrong on others. The mean over documents is given for every layer; the interval is of the
    best layer's documents.

    Raises:
        ValueError: an architecture that is not described in `benchmark.architecture`.
    """
    lm, text = subject.lm, subject.test["forget"]
    training = [subject.validation["forget"].passages, _leading(subject.retain, RETAIN_TOKENS)]
    seen = torch.cat([passages.ids[:, 1:][passages.mask[:, 1:]] for passages in training]).unique().to(lm.device)  # type: ignore[no-untyped-call]
    layers = range(len(layers_of(lm.model)))
    hits = torch.zeros(len(layers), len(text.ids), dtype=torch.float64)
    with evaluating(lm.model):
        moments = [Moments(lm.model.config.hidden_size, len(seen), lm.device) for _ in layers]
        for passages in training:
            for tokens in predicted_tokens(lm, passages):
                for layer in layers:
                    moments[layer].add(tokens.streams[layer], torch.searchsorted(seen, tokens.ids))
        probes = [moments.pop(0).probe(RIDGE) for _ in layers]
        for tokens in predicted_tokens(lm, text.passages):
            for layer in layers:
                right = seen[probes[layer].scores(tokens.streams[layer]).argmax(dim=1)] == tokens.ids
                hits[layer].index_add_(0, tokens.document.cpu(), right.double().cpu())
    return best_layer(text.ids, {"top1": hits / predicted_by_document(text.passages)})


def _leading(text: Passages, most_tokens: int) -> Passages:
    """The leading windows with no more tokens than that, at least one."""
    fitting = int((text.mask.sum(dim=1).cumsum(dim=0) <= most_tokens).sum())
    return text.take(torch.arange(max(1, fitting)))


LINEAR_PROBE = Metric(
    name="linear_probe",
    axis="robustness",
    summary="share of forget tokens that a linear probe of the best layer has right, trained on other documents",
    unit="share",
    low=0.0,
    high=1.0,
    knows="higher",
    trains=True,
    source="Alain & Bengio 2016 (arXiv:1610.01644); for unlearning Lynch et al. 2024 (arXiv:2402.16835), section 4",
    measure=measure,
)
