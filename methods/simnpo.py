"""SimNPO: negative preference optimisation without a reference model, normalised by length."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from benchmark import (
    Kept,
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    check_choice,
    check_positive,
    check_training,
    cross_entropy,
    descend,
    register,
    sequence_nll,
)


@register("simnpo")
@dataclass(frozen=True)
class SimNPO(UnlearningMethod):
    """Make forget text unlikely a token, whatever it was before. Fan et al. 2024 (arXiv:2410.07163).

    loss = mean over windows of -(2 / beta) * log sigmoid(beta * NLL / length - gamma) + retain_weight * CE(kept)

    NLL is the negative log-probability of a window and length the number of tokens that it sums over, so that long windows
    count no more than short ones. The sign: the loss falls as the forget text becomes less likely. The margin gamma is
    subtracted, so that a window goes on counting until its loss a token is well above gamma / beta; some code writes it as
    beta * (NLL / length - delta), where delta is gamma / beta. The weight is on the kept term, 1 standing before the other.
    """

    lr: float = 2e-4
    """Learning rate of AdamW."""
    beta: float = 1.0
    """Inverse temperature: how sharply a window stops counting once it is unlikely enough."""
    gamma: float = 3.0
    """Margin, in beta times nats a token. 0 suits text that the model knows by heart: of text that costs it 3 nats a token
    beforehand, little would count."""
    retain_weight: float = 2.0
    """Weight of the loss on kept text; 0 for none, and then kept text is not read."""
    kept: Kept = "retain"
    """Text to descend on: in-distribution (`retain`), `general`, or `both`."""
    steps: int = 60
    """Optimiser steps."""
    batch: int = 8
    """Windows of forget text, and as many of kept text, a step."""
    lora_rank: int = 0
    """Rank of LoRA adapters trained in place of the weights; 0 trains the weights."""

    search: ClassVar = {"lr": (1e-4, 2e-4, 4e-4), "gamma": (1.5, 3.0)}

    def __post_init__(self) -> None:
        check_training(self.lr, self.steps, self.batch, self.lora_rank)
        check_positive("beta", self.beta)
        check_choice("kept", self.kept, Kept)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield after every optimiser step."""

        def loss(forget: Passages, *kept: Passages) -> Tensor:
            nll, length = sequence_nll(lm, forget)
            forgetting = -2 / self.beta * F.logsigmoid(self.beta * nll / length - self.gamma).mean()
            return forgetting + sum(self.retain_weight * cross_entropy(lm, text) for text in kept)

        streams = [request.forget, *([request.kept(self.kept)] if self.retain_weight else [])]
        yield from descend(lm, loss, streams, lr=self.lr, steps=self.steps, batch=self.batch, seed=request.seed, lora_rank=self.lora_rank)
