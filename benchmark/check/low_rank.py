"""Methods that can train a low-rank addition to the weights instead of the weights."""

from __future__ import annotations

import dataclasses

import torch

from benchmark.check.behaviour import changes_model
from benchmark.check.outcome import Check, Failure, NotApplicable
from benchmark.check.traces import leaves_no_trace, state_dict
from benchmark.check.trial import Trial
from benchmark.check.weights import weights_alone
from benchmark.fields import RANK


def low_rank(trial: Trial) -> None:
    """With `lora_rank` 2, if there is such a field, it changes the model and the state dict, and no original weight."""
    if RANK not in {field.name for field in dataclasses.fields(trial.entry.cls)}:  # type: ignore[arg-type]  # every registered class is one
        raise NotApplicable(f"no field `{RANK}`")
    low = trial.changed({RANK: 2})
    for check in (changes_model, leaves_no_trace, state_dict, weights_alone):
        check(low)
    lm = low.lm()
    request = low.request(lm)
    before = [(parameter, parameter.detach().clone()) for parameter in lm.model.parameters()]
    list(low.follow(lm, request))
    touched = sum(not torch.equal(parameter, value) for parameter, value in before)
    if touched:
        raise Failure(expected="original weights equal to the last bit", seen=f"{touched} of {len(before)} tensors changed")


LOW_RANK = Check("low-rank", low_rank, why="what is published of such a run is the addition alone, to be put on the original weights")
