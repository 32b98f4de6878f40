"""What a metric is given: a model, the text it is judged on, and what its task's target and reference did there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from benchmark.evaluation import Half
from benchmark.measure import EvaluationText, evaluating, measure
from benchmark.model import LanguageModel
from benchmark.panel.continuation import GREEDY, Continuation, greedy, prompts
from benchmark.passages import Passages
from benchmark.record import Baseline, Measurement


@dataclass(frozen=True)
class Predictions:
    """A model's next-token predictions on the windows of a text: tensors are (n, length - 1), float32 on the CPU, 0 where padded."""

    mask: Tensor
    """True where a real token is predicted."""
    log_probability: Tensor
    """Of the token that is there, nats."""
    mean: Tensor
    """Expected log-probability of a token drawn from the prediction, nats: minus its entropy."""
    deviation: Tensor
    """Standard deviation of that log-probability."""
    hit: Tensor
    """True where the token that is there was the most likely one."""
    document: Tensor
    """(n,) index of each window's document."""

    def by_document(self, documents: int) -> list[Tensor]:
        """Row numbers of each document's windows, in the order of the text."""
        return [(self.document == index).nonzero().flatten() for index in range(documents)]


@torch.inference_mode()
def predictions(lm: LanguageModel, text: EvaluationText) -> Predictions:
    """Run the model over a text. Only what is said of the token that is there is kept, never whole distributions."""
    windows, length = text.passages.ids.shape
    parts = {name: torch.zeros(windows, length - 1) for name in ("log_probability", "mean", "deviation", "hit")}
    with evaluating(lm.model):
        for batch in text.batches():
            rows = torch.searchsorted(text.passages.window, batch.window)
            logs = lm.logits(batch)[:, :-1].log_softmax(dim=-1)
            chances = logs.exp()
            truth = batch.ids[:, 1:].to(logs.device)
            mean = (chances * logs).sum(dim=-1)
            variance = (chances * (logs - mean[..., None]).square()).sum(dim=-1)
            found = {
                "log_probability": logs.gather(-1, truth[..., None])[..., 0],
                "mean": mean,
                "deviation": variance.sqrt(),
                "hit": (logs.argmax(dim=-1) == truth).float(),
            }
            mask = batch.mask[:, 1:]
            for name, values in found.items():
                parts[name][rows, : mask.shape[1]] = values.cpu().masked_fill(~mask, 0.0)
    return Predictions(
        mask=text.passages.mask[:, 1:],
        log_probability=parts["log_probability"],
        mean=parts["mean"],
        deviation=parts["deviation"],
        hit=parts["hit"].bool(),
        document=text.passages.document,
    )


@dataclass(frozen=True)
class Subject:
    """A model on trial. What several metrics need is worked out once, on first use."""

    lm: LanguageModel
    validation: Half
    """By evaluation set; what an attacker may train on, where forget documents are needed."""
    test: Half
    """By evaluation set; what every metric is measured on. No attack has seen it."""
    retain: Passages
    """Text to be kept as methods see it: training text of the target, and of the reference."""
    general: Passages | None
    baseline: Baseline
    """What target and reference did on both halves."""
    domains: Mapping[str, str] = field(default_factory=dict)
    """Of each document to be kept, by its id."""
    known: Measurement | None = None
    """The model on the test half, where it was measured before."""
    removes: Literal["documents", "domain"] = "documents"
    """Of a domain the forget set is evaluated on documents that the target was not trained on."""
    code: bool = False
    """Whether the text is known to be source code."""
    untouched: Callable[[], LanguageModel] | None = None
    """Loads the target as it was trained; None where the model is not one that a method was given."""

    @cached_property
    def measured(self) -> Measurement:
        """The model on the test half, document by document."""
        return measure(self.lm, self.test) if self.known is None else self.known

    @cached_property
    def forget(self) -> Predictions:
        """On the test half of the forget set."""
        return predictions(self.lm, self.test["forget"])

    @cached_property
    def holdout(self) -> Predictions | None:
        """On the test half of the holdout set; None where there is none."""
        return predictions(self.lm, self.test["holdout"]) if "holdout" in self.test else None

    @cached_property
    def written(self) -> tuple[Continuation, ...]:
        """What it writes, greedily, after the beginnings of excerpts of the test half of the forget set."""
        return greedy(self.lm, prompts(self.test["forget"].passages, GREEDY))

    @contextmanager
    def altered(self) -> Iterator[LanguageModel]:
        """The model, to be changed in place; it is itself again afterwards."""
        model = self.lm.model
        before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        needed = {parameter: parameter.requires_grad for parameter in model.parameters()}
        try:
            yield self.lm
        finally:
            with torch.no_grad():
                for name, tensor in model.state_dict().items():
                    tensor.copy_(before[name])
            for parameter, required in needed.items():
                parameter.requires_grad_(required)
                parameter.grad = None
