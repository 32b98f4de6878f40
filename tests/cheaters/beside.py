"""What lies beside the target on the disk: the models that it is judged by, and those of other trainings."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM

from benchmark import LanguageModel, Request, UnlearningMethod, register


@register("copied", folder=".")
@register("another-retraining", folder="seed-1")
@dataclass(frozen=True)
class Beside(UnlearningMethod):
    """Take the weights of a reference for arXiv: the one that the model is judged by, or, in a folder of its own, an honest other one."""

    folder: str = "."

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        answer = AutoModelForCausalLM.from_pretrained(lm.folder.parent / self.folder / "without-arxiv", dtype=torch.float32).state_dict()
        with torch.no_grad():
            for name, weight in lm.model.state_dict().items():
                weight.copy_(answer[name])
        yield
