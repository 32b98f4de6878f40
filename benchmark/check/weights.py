"""Whether the weights are all that a method changes: nothing else of what it does to a model is measured."""

from __future__ import annotations

import torch

from benchmark.check.behaviour import TELLING
from benchmark.check.outcome import Check, Failure, NotApplicable
from benchmark.check.trial import Step, Trial, outputs
from benchmark.fields import RANK
from benchmark.model import LanguageModel


def weights_alone(trial: Trial) -> None:
    """An untouched model that is given the weights of a step, adapters of LoRA included, says what the step's does; or it `inserts`."""
    if trial.entry.cls.inserts:
        raise NotApplicable("it declares `inserts`: the model that it was given is measured")
    for number, step in enumerate(trial.usual, start=1):
        anew = _anew(trial, step, number)
        seen = outputs(anew, trial.request(anew))
        if not torch.allclose(seen, step.output, rtol=0, atol=TELLING, equal_nan=True):
            raise Failure(
                expected=f"the same logits from an untouched model with the weights of step {number}",
                seen=f"logits that differ by {(seen - step.output).abs().max().item():.1e}: a hook, class or attribute does the rest",
            )


def _anew(trial: Trial, step: Step, number: int) -> LanguageModel:
    """The model of a step made as the harness makes it."""
    lm = trial.lm()
    if rank := getattr(trial.method, RANK, 0):
        from benchmark import lora  # it imports peft, which takes its time

        lora.attach(lm.model, rank, trial.request(lm).seed)
    strange = sorted(step.state.keys() - lm.model.state_dict().keys())
    if strange:
        raise Failure(
            expected="no tensor in the state dict but the model's own, or `inserts: ClassVar = True` in the class",
            seen=f"after step {number} {strange[0]!r}" + (f", and {len(strange) - 1} more" if len(strange) > 1 else ""),
        )
    lm.model.load_state_dict(dict(step.state), strict=False)
    return lm


WEIGHTS_ALONE = Check(
    "weights-alone",
    weights_alone,
    why="what is measured is a new model with the step's weights; what they do not hold has no part in the score, and in no saved model",
)
