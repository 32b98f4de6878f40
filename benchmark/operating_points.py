"""The chosen steps of a trajectory, measured on the test half: of each the model is made anew from its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.fields import RANK
from benchmark.measure import measure
from benchmark.memory.checkpointing import checkpoint_blocks
from benchmark.memory.plan import MemoryPlan
from benchmark.model import LanguageModel, load_model
from benchmark.record import Cost, OperatingPoint, Protocol, Spec
from benchmark.snapshot import changed_elements, restore, tensors
from benchmark.trajectory import Chosen
from benchmark.yardstick import Yardstick

ModelAt = Callable[[Path], tuple[LanguageModel, int]]
"""The model of a saved step, and how many elements of its tensors differ from the target's."""


def model_at(
    yardstick: Yardstick, spec: Spec, plan: MemoryPlan, checkpointing: bool, given: LanguageModel | None, snapshot: Path
) -> tuple[LanguageModel, int]:
    """A `ModelAt` for one cell: the target, freshly loaded, with the step's weights and adapters.

    Whatever else a method did to the model that it was given, by hooks or by modules, has no part in what is measured.

    Args:
        yardstick: of the cell.
        spec: of the cell.
        plan: the model's.
        checkpointing: whether its blocks are checkpointed.
        given: the model that the method was given, where it declares that it inserts modules: then that is brought to the step.
        snapshot: of the step.

    Raises:
        ValueError: the step has a tensor that the target lacks, and the method declares nothing.
    """
    lm = replace(load_model(yardstick.target, yardstick.loading), plan=plan)
    base = lm.model.state_dict()
    if given is not None:
        return given, restore(given.model, base, snapshot)
    if rank := spec.hyperparameters.get(RANK):
        from benchmark import lora  # it imports peft, which takes its time

        lora.attach(lm.model, int(rank), spec.seed)
    if checkpointing:
        checkpoint_blocks(lm.model)
    return lm, restore(lm.model, base, snapshot)


def operating_points(
    chosen: Sequence[Chosen], at: ModelAt, yardstick: Yardstick, protocol: Protocol, keep: Callable[[LanguageModel], object]
) -> tuple[OperatingPoint, ...]:
    """Each choice measured; a step that several budgets chose is measured once. `keep` is given the model of the last, if there is one."""
    headline = {choice.step for choice in chosen if choice.budget == protocol.headline}
    measured: dict[int, OperatingPoint] = {}
    lm = None
    for choice in chosen:
        if choice.step in measured:
            continue
        if choice.snapshot is None:
            measured[choice.step] = _untouched(choice, yardstick, choice.step in headline)
        else:
            lm = None  # the one before is gone before the next comes
            lm, changed = at(choice.snapshot)
            measured[choice.step] = _point(choice, lm, yardstick, changed, choice.step in headline)
    if lm is not None:
        keep(lm)
    return tuple(_at_budget(measured[choice.step], choice.budget, protocol) for choice in chosen)


def fixed_points(lm: LanguageModel, yardstick: Yardstick, protocol: Protocol, cost: Cost) -> tuple[OperatingPoint, ...]:
    """A model that is the same at every budget."""
    changed = changed_elements(tensors(lm.model), load_model(yardstick.target, yardstick.loading).model.state_dict())
    point = _point(Chosen(0.0, cost=cost), lm, yardstick, changed, headline=True)
    return tuple(_at_budget(point, budget, protocol) for budget in protocol.budgets)


def _at_budget(point: OperatingPoint, budget: float, protocol: Protocol) -> OperatingPoint:
    """The point as that of one budget; what is measured at the headline budget alone stands there alone."""
    alone = {} if budget == protocol.headline else {"divergence": None, "utility": None, "panel": None}
    return point.model_copy(update={"budget": budget, **alone})


def _untouched(choice: Chosen, yardstick: Yardstick, headline: bool) -> OperatingPoint:
    """Where the untouched target was best."""
    evaluation = yardstick.evaluation
    return OperatingPoint(
        budget=choice.budget,
        step=0,
        test=evaluation.baseline.target_test,
        divergence=evaluation.target_distances if headline else None,
        parameters_changed=0,
        cost=choice.cost,
        utility=yardstick.utility.of_untouched() if headline else None,
        panel=evaluation.baseline.target_panel if headline else None,
    )


def _point(choice: Chosen, lm: LanguageModel, yardstick: Yardstick, changed: int, headline: bool) -> OperatingPoint:
    """Only the headline's is set against the reference."""
    test = measure(lm, yardstick.evaluation.test)
    distances = None
    if headline and yardstick.reference is not None:
        distances = yardstick.evaluation.distances(lm, load_model(yardstick.reference, yardstick.loading))
    return OperatingPoint(
        budget=choice.budget,
        step=choice.step,
        test=test,
        divergence=distances,
        parameters_changed=changed,
        cost=choice.cost,
        utility=yardstick.utility.of(lm) if headline else None,
        panel=yardstick.panel(lm, test) if headline else None,
    )
