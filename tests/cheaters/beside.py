"""What lies beside the target on the disk: the models that it is judged by, and those of other trainings."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from safetensors.torch import load_file

from benchmark import LanguageModel, Request, UnlearningMethod, register


@register("copied", folder=".")
@register("another-retraining", folder="seed-1")
@dataclass(frozen=True)
class Beside(UnlearningMethod):
    """Take the weights of a reference for arXiv: the one that the model is judged by, or, in a folder of its own, an honest other one."""

    folder: str = "."

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        answer = load_file(lm.folder.parent / self.folder / "without-arxiv" / "model.safetensors")
        with torch.no_grad():
            for name, weight in lm.model.state_dict().items():
                weight.copy_(answer[name])
        yield
