"""A sparse autoencoder behind one layer, whose features of the forget set are clamped."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmark import (
    Kept,
    LanguageModel,
    Passages,
    Request,
    SparseAutoencoder,
    UnlearningMethod,
    activations,
    check_choice,
    check_fraction,
    check_positive,
    insert,
    layer_at,
    layers_of,
    load_autoencoder,
    register,
    some_windows,
    undescribed,
)


@register("sae")
@dataclass(frozen=True)
class AutoencoderClamping(UnlearningMethod):
    """Clamp sparse autoencoder features that fire on forget rather than kept text. After Farrell et al. 2024 (arXiv:2410.19278).

    Farrell, Lau & Conmy set features that the forget text uses to a negative number wherever they fire. Here
    the features are those of a TopK autoencoder of the residual stream, ranked by

        (share of forget tokens at which it fires) / (share of kept tokens + eps)

    and each step sets some more of them to -`clamp` x their mean value where they fire on forget text. The first step only inserts
    the autoencoder. With `keep_error` what its reconstruction misses is added again, so that this step costs nothing.

    Ours: the level is a multiple of each feature's own mean, not one number for all, so that it suits any model; the order, and
    going through it step by step.
    """

    path: str = ""
    """Empty: train one on general text. A folder in the layout of sparsify, or `sae-lens:RELEASE/ID` (`pip install
    unlearning-bench[sae]`): read it; `depth` must then be that of the layer that it was trained on."""
    depth: float = 0.5
    """Share of the layers before the autoencoder."""
    expansion: int = 16
    """Features for each dimension of the residual stream."""
    k: int = 32
    """Features that may fire at a token."""
    train_steps: int = 150
    """Steps of `prepare`, of 2048 tokens."""
    train_lr: float = 3e-3
    """Learning rate at which they begin."""
    clamp: float = 0.0
    """A removed feature is set to this many times its mean, negated; 0 ablates it."""
    keep_error: bool = True
    """Add again what the reconstruction misses."""
    step: float = 0.002
    """Fraction of all features removed each step."""
    eps: float = 1e-2
    """Keeps the score of a feature that never fires on kept text finite."""
    tokens: int = 30_000
    """Tokens of forget text, and of kept text, that the features are counted on."""
    kept: Kept = "both"
    """Text to spare: in-distribution (`retain`), `general`, or `both`."""

    search: ClassVar = {"clamp": (0.0, 1.0, 4.0), "eps": (1e-3, 1e-2)}
    prepares_with: ClassVar = ("path", "depth", "expansion", "k", "train_steps", "train_lr")
    inserts: ClassVar = True

    def __post_init__(self) -> None:
        check_fraction("depth", self.depth)
        check_fraction("step", self.step)
        check_choice("kept", self.kept, Kept)
        for field in ("expansion", "k", "train_lr", "eps", "tokens"):
            check_positive(field, getattr(self, field))
        if self.clamp < 0:
            raise ValueError(f"clamp must be 0 (ablate) or above, not {self.clamp!r}")

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Needs to know where the layers are."""
        return undescribed(lm.model)

    def prepare(self, lm: LanguageModel, general: Passages) -> Mapping[str, Tensor]:
        """Train an autoencoder of the residual stream on general text, or read one."""
        if self.path:
            return load_autoencoder(self.path, lm.model.config.hidden_size)
        generator = torch.Generator().manual_seed(0)
        tokens = activations(lm, general, layer_at(lm, self.depth))
        autoencoder = SparseAutoencoder.start(tokens, self.expansion * tokens.shape[1], self.k, generator)
        autoencoder.fit(tokens, self.train_steps, self.train_lr, generator)
        return autoencoder.weights | {"k": torch.tensor([self.k])}

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield once the autoencoder is in, and after every slice of features clamped."""
        generator = torch.Generator().manual_seed(request.seed)
        layer = layer_at(lm, self.depth)
        forget = activations(lm, some_windows(request.forget, self.tokens, generator), layer)
        kept = activations(lm, some_windows(request.kept(self.kept), self.tokens, generator), layer)
        autoencoder = SparseAutoencoder(request.prepared, int(request.prepared["k"]), self.keep_error).to(lm.device)
        insert(layers_of(lm.model)[layer], autoencoder)
        yield
        fired, mean = autoencoder.usage(forget)
        score = fired / len(forget) / (autoencoder.usage(kept)[0] / len(kept) + self.eps)
        autoencoder.level.copy_(-self.clamp * mean)
        order = score.argsort(descending=True, stable=True)[: int((fired > 0).sum())]
        for some in torch.split(order, max(1, round(self.step * len(score)))):
            autoencoder.removed[some.to(lm.device)] = True
            yield
