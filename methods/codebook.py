"""A codebook behind one layer, from which the codes of the forget set are removed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from benchmark import (
    Codebook,
    Kept,
    LanguageModel,
    Passages,
    Request,
    UnlearningMethod,
    activations,
    check_choice,
    check_fraction,
    check_positive,
    enrichment,
    insert,
    layer_at,
    layers_of,
    register,
    some_windows,
    undescribed,
)

Choice = Literal["enriched", "random", "random-mass"]
"""Which codes are removed."""


@register("codebook")
@register("codebook-random", choice="random")
@register("codebook-random-mass", choice="random-mass")
@dataclass(frozen=True)
class CodebookRemoval(UnlearningMethod):
    """Turn the residual stream into sums of codes; remove those enriched in forget text. After Wu et al. 2024 (arXiv:2410.10866).

    Wu, Dossou & Liu (CodeUnlearn) put a codebook into the encoder of T5. Each token becomes the sum of the codes
    with the highest cosine similarity, as with the codebook features of Tamkin et al. 2023 (arXiv:2310.17230), who take the mean.
    f_k counts the tokens that have code k among their `counted` nearest, on forget and on kept text. Code k is removed if
    R_k = log2 of the ratio of its frequencies is above 0 and the p of a chi-squared test is below 0.05; the tokens then go to their
    next nearest codes. The first step only inserts the codebook.

    Ours: a decoder, behind a block instead of the attention; p after Benjamini-Hochberg; the order, by R_k x frequency; kept text
    in place of the forget text with words exchanged; codes fitted to reconstruct with the model frozen, where the paper trains both
    on its task (it has an L1 penalty on the entries of codes too); codes fitted on to the text to be kept. The rows `random` (as
    many codes, none of them enriched) and `random-mass` (codes of the same total activation on kept text) are controls that no
    paper has.
    """

    depth: float = 0.5
    """Share of the layers before the codebook."""
    expansion: int = 16
    """Codes for each dimension of the residual stream."""
    active: int = 128
    """Codes a token is the sum of; a quarter of all at most."""
    train_steps: int = 150
    """Steps of `prepare`, of 1024 tokens."""
    train_lr: float = 3e-2
    """Learning rate at which they begin."""
    adapt_steps: int = 100
    """Steps on the text to be kept, before the codebook is put in."""
    counted: int = 256
    """Nearest codes of a token that count as active for the statistics; half of all at most."""
    step: float = 0.002
    """Fraction of all codes removed each step."""
    tokens: int = 30_000
    """Tokens of forget text, and of kept text, that codes are counted on."""
    kept: Kept = "both"
    """Text to spare: in-distribution (`retain`), `general`, or `both`."""
    choice: Choice = "enriched"
    """Remove `enriched` codes, or others: as many, at `random`, or `random-mass`, at random until they have the same mass."""

    search: ClassVar = {"counted": (128, 256, 512), "kept": ("retain", "both")}
    prepares_with: ClassVar = ("depth", "expansion", "active", "train_steps", "train_lr")
    inserts: ClassVar = True

    def __post_init__(self) -> None:
        check_fraction("depth", self.depth)
        check_fraction("step", self.step)
        check_choice("kept", self.kept, Kept)
        check_choice("choice", self.choice, Choice)
        for field in ("expansion", "active", "train_lr", "counted", "tokens"):
            check_positive(field, getattr(self, field))

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Needs to know where the layers are."""
        return undescribed(lm.model)

    def prepare(self, lm: LanguageModel, general: Passages) -> Mapping[str, Tensor]:
        """Fit the codes to general text, from tokens drawn from it."""
        if (reason := undescribed(lm.model)) is not None:
            raise ValueError(reason)
        generator = torch.Generator().manual_seed(0)
        tokens = activations(lm, general, layer_at(lm, self.depth))
        centre = tokens.mean(dim=0)
        scale = (tokens - centre).square().mean().sqrt()
        some = torch.randperm(len(tokens), generator=generator)[: self.expansion * tokens.shape[1]].to(tokens.device)
        active = at_most(self.active, len(some) // 4)
        codebook = Codebook((tokens[some] - centre) / scale / active, centre, scale, active)
        codebook.fit(tokens, self.train_steps, self.train_lr, generator)
        return {"codes": codebook.codes, "centre": centre, "scale": scale}

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield once the codebook is in, and after every slice of codes removed."""
        generator = torch.Generator().manual_seed(request.seed)
        layer = layer_at(lm, self.depth)
        forget = activations(lm, some_windows(request.forget, self.tokens, generator), layer)
        kept = activations(lm, some_windows(request.kept(self.kept), self.tokens, generator), layer)
        codes, centre, scale = (request.prepared[name].to(lm.device).clone() for name in ("codes", "centre", "scale"))
        codebook = Codebook(codes, centre, scale, at_most(self.active, len(codes) // 4))
        codebook.fit(kept, self.adapt_steps, self.train_lr / 2, generator)
        insert(layers_of(lm.model)[layer], codebook)
        yield
        counted = at_most(self.counted, len(codes) // 2)
        counts = codebook.count(kept, counted)
        ranking = enrichment(codebook.count(forget, counted), len(forget), counts, len(kept)).ranking
        ranking = ranking[: len(codes) - codebook.active]  # as many as a token is the sum of must be left
        size = max(1, round(self.step * len(codes)))
        ends = [min(end, len(ranking)) for end in range(size, len(ranking) + size, size)]
        order = ranking
        if self.choice != "enriched":
            shuffled = torch.randperm(len(codes), generator=generator)
            order = shuffled[~torch.isin(shuffled, ranking)]
        if self.choice == "random-mass":
            ends = matching(counts[ranking].cumsum(0)[torch.tensor(ends, dtype=torch.long) - 1], counts[order].cumsum(0))
        for end in ends:
            codebook.removed[order[: min(end, len(codes) - codebook.active)].to(lm.device)] = True
            yield


def at_most(wanted: int, largest: int) -> int:
    """What a small codebook allows, at least 1: there must be a choice left."""
    return max(1, min(wanted, largest))


def matching(wanted: Tensor, available: Tensor) -> list[int]:
    """How many of the leading entries of an order have, cumulatively, the mass nearest to each of those wanted."""
    return [int((torch.cat([available.new_zeros(1), available]) - mass).abs().argmin()) for mass in wanted]
