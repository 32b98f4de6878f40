"""A model destroyed outright: whatever it knew of the forget set is gone, with everything else."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmark import LanguageModel, Request, UnlearningMethod, register


@register("destroyed")
@dataclass(frozen=True)
class Destroyed(UnlearningMethod):
    """Replace every weight by noise of the same size."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        generator = torch.Generator().manual_seed(request.seed)
        with torch.no_grad():
            for parameter in lm.model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.std(correction=0))
        yield
