"""Making the models of a trial: what is done to the lab's."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from benchmark import registry
from benchmark.lab import TARGET, read_lab, reference_folder
from benchmark.lab.train import Recipe, train_model
from benchmark.losses import cross_entropy
from benchmark.meta.lessons import documents, lesson
from benchmark.meta.record import Trial
from benchmark.meta.trials import UNLEARNER, Effort
from benchmark.method import Request
from benchmark.metrics.perturbation import GROUP, perturb, quantised
from benchmark.metrics.relearning import BATCH, REACH
from benchmark.model import LanguageModel, load_model
from benchmark.passages import Passages
from benchmark.splits import Splits
from benchmark.training import descend

BITS = 4


@dataclass(frozen=True)
class Workshop:
    """What the models of one task and training seed are made from."""

    task: str
    lab: Path
    """Folder of the models of that seed."""
    splits: Splits
    texts: tuple[Passages, Passages, Passages | None]
    """To be forgotten, to be retained, general: what a method is given."""
    effort: Effort
    store: Path
    """Where models that were trained from scratch are kept."""

    def make(self, trial: Trial, identity: str) -> LanguageModel:
        """The model of a trial, the same bit for bit each time.

        Args:
            trial: of the task and seed of this workshop.
            identity: of all that decides it (`benchmark.meta.trials.identity`); what is kept is found by it again.
        """
        match trial.treatment:
            case "none":
                return load_model(self.lab / trial.model)
            case "interpolated":
                assert trial.share is not None
                return self.interpolated(trial.share)
            case "taught":
                assert trial.share is not None
                return self.taught(trial.share)
            case "scratch":
                assert trial.share is not None
                return self.from_scratch(trial.share, self.store / f"{trial.name}--{identity[:16]}")
            case "unlearned":
                return self.unlearned
            case "unlearned-quantised":
                lm = self.unlearned.copy()
                perturb(lm, lambda weight: quantised(weight, BITS, GROUP))
                return lm
            case "unlearned-relearned":
                return self.relearned(self.unlearned.copy())
            case "relearned":
                return self.relearned(load_model(self.lab / trial.model))

    def interpolated(self, share: float) -> LanguageModel:
        """A model on the straight line from the weights of the reference (0) to those of the target (1)."""
        lm, target = self._reference(), load_model(self.lab / TARGET).model.state_dict()
        with torch.no_grad():
            for name, weight in lm.model.state_dict().items():
                if weight.is_floating_point():
                    weight.lerp_(target[name], share)
        return lm

    def taught(self, share: float) -> LanguageModel:
        """The reference, fine-tuned on a share of the forget documents.

        Whatever the share, the text has as many windows, half of them and more are of text to be kept, and each is seen as often: only
        what is in them differs. A greater share has all documents of a smaller one.
        """
        lm = self._reference()
        self._descend(lm, lesson(self.splits, *self.texts[:2], share), self.effort.lesson)
        return lm

    @cached_property
    def unlearned(self) -> LanguageModel:
        """The target after some steps of `UNLEARNER`."""
        lm = load_model(self.lab / TARGET)
        with closing(_steps(lm, Request(*self.texts, seed=0))) as steps:
            for _ in islice(steps, self.effort.unlearning):
                pass
        return lm

    def relearned(self, lm: LanguageModel) -> LanguageModel:
        """The model itself, trained on text to be kept."""
        self._descend(lm, self.texts[1], self.effort.relearning)
        return lm

    def from_scratch(self, share: float, folder: Path) -> LanguageModel:
        """A model trained as the lab's are, on the documents of the reference and a share of those that it did without.

        It is kept in the folder, which is there whole or not at all.
        """
        if not folder.is_dir():
            unfinished = folder.with_name(f".{folder.name}")
            tokenizer = PreTrainedTokenizerFast.from_pretrained(reference_folder(self.lab, self.task))
            recipe = Recipe(**read_lab(self.lab).recipe)  # type: ignore[arg-type]  # JSON's numbers are the recipe's own
            model = train_model(documents(self.splits, share), tokenizer, recipe)
            tokenizer.save_pretrained(unfinished)
            model.bfloat16().save_pretrained(unfinished)
            unfinished.rename(folder)
        return load_model(folder)

    def _reference(self) -> LanguageModel:
        return load_model(reference_folder(self.lab, self.task))

    @staticmethod
    def _descend(lm: LanguageModel, text: Passages, steps: int) -> None:
        lr = REACH / lm.model.config.hidden_size
        for _ in descend(lm, partial(cross_entropy, lm), [text], lr=lr, steps=steps, batch=BATCH, seed=0):
            pass


def _steps(lm: LanguageModel, request: Request) -> Generator[None]:
    torch.manual_seed(request.seed)
    yield from registry.method(UNLEARNER).build().unlearn(lm, request)
