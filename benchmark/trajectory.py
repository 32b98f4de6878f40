"""Running a method step by step: measure on validation, keep the best step inside each budget, stop when past them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.cost import Meter
from benchmark.evaluation import Evaluation, Judgement
from benchmark.measure import Diverged
from benchmark.method import Request, UnlearningMethod, Unsupported
from benchmark.model import LanguageModel
from benchmark.record import Cost, Protocol, Status, Step
from benchmark.snapshot import digests, save

RETAIN_LOST = 0.5
"""A domain task's trajectory goes on, past every budget, until this share of retain top-1 is gone: the paper's max
difference is reached beyond where perplexity budgets end."""

_END = object()


@dataclass
class Chosen:
    """The best step so far inside one budget; step 0 is the untouched target."""

    budget: float
    step: int = 0
    merit: float = 0.0
    """Validation forget score, or the top-1 difference where there is no score."""
    snapshot: Path | None = None
    cost: Cost = field(default_factory=Cost)


@dataclass
class Trajectory:
    """What one run of a method passed through."""

    steps: list[Step]
    chosen: list[Chosen]
    status: Status = "ok"
    reason: str | None = None
    """Why it ended, where the method itself did not end it."""

    def broke(self, status: Status, reason: str) -> None:
        """Something went wrong. Past the largest budget no operating point depends on it: there it is a way to end."""
        largest = max(choice.budget for choice in self.chosen)
        self.status = "ok" if self.steps[-1].damage > largest else status
        self.reason = reason


def follow(
    method: UnlearningMethod,
    lm: LanguageModel,
    request: Request,
    evaluation: Evaluation,
    protocol: Protocol,
    folder: Path,
    progress: Callable[[int], None] = lambda step: None,
) -> Trajectory:
    """Run a method on a freshly loaded target; snapshots of the chosen steps go to `folder`.

    A method that raises, diverges or never yields is a value, not an exception: see `Trajectory.status`.

    Raises:
        Unsupported: the method declines after all.
    """
    base = digests(lm.model)
    result = Trajectory([_step(0, evaluation.untouched, Cost())], [Chosen(budget) for budget in protocol.budgets])
    try:
        with Meter(lm.model) as meter, closing(steps_of(method, lm, request)) as steps:
            for number in _measured_steps(steps, meter, protocol, progress):
                judged = evaluation.judge(lm)
                result.steps.append(_step(number, judged, meter.cost()))
                _choose(result.chosen, result.steps[-1], judged, lambda file: save(lm.model, base, file), folder)
                if _finished(result.steps, evaluation, protocol):
                    result.reason = f"stopped at step {number}: past the largest utility budget"
                    break
                if number == protocol.max_steps:
                    result.reason = f"cut at the limit of {protocol.max_steps} steps"
        if len(result.steps) == 1:
            result.broke("failed", "the method never yielded: nothing was measured")
    except Unsupported:
        raise
    except Diverged as error:
        result.broke("diverged", f"diverged after measured step {result.steps[-1].step}: {error}")
    except (Exception, SystemExit) as error:  # whatever a method does wrong is recorded, and the other cells go on
        result.broke("failed", f"raised after measured step {result.steps[-1].step}: {type(error).__name__}: {error}")
    return result


def steps_of(method: UnlearningMethod, lm: LanguageModel, request: Request) -> Generator[None]:
    """The method's steps as a generator: closing it closes the method's own; none of its code runs before the first step."""
    yield from method.unlearn(lm, request)


def _measured_steps(steps: Iterator[None], meter: Meter, protocol: Protocol, progress: Callable[[int], None]) -> Iterator[int]:
    """Run the method; give the numbers of the steps to measure, on a geometric schedule that includes the last."""
    measured, due = 0, 1
    for number in range(1, protocol.max_steps + 1):
        with meter.running():
            ended = next(steps, _END) is _END
        if ended:
            if measured < number - 1:
                yield number - 1
            return
        progress(number)
        if number >= due or number == protocol.max_steps:
            measured, due = number, max(number + 1, math.ceil(number * protocol.growth))
            yield number


def _step(number: int, judged: Judgement, cost: Cost) -> Step:
    return Step(step=number, nll=judged.nll, top1=judged.top1, damage=judged.damage, score=judged.score, cost=cost)


def _choose(chosen: list[Chosen], step: Step, judged: Judgement, keep: Callable[[Path], None], folder: Path) -> None:
    merit = judged.difference if judged.score is None else judged.score
    better = [choice for choice in chosen if judged.damage <= choice.budget and merit > choice.merit]
    if not better:
        return
    file = folder / f"step-{step.step}.safetensors"
    keep(file)
    for choice in better:
        choice.step, choice.merit, choice.snapshot, choice.cost = step.step, merit, file, step.cost
    used = {choice.snapshot for choice in chosen}
    for stale in folder.glob("step-*.safetensors"):
        if stale not in used:
            stale.unlink()


def _finished(steps: Sequence[Step], evaluation: Evaluation, protocol: Protocol) -> bool:
    """Past the largest budget twice in a row, and nothing left to learn from going on."""
    past = len(steps) > 2 and all(step.damage > max(protocol.budgets) for step in steps[-2:])
    if evaluation.removes == "documents":
        return past
    return past and steps[-1].top1["retain"] <= (1 - RETAIN_LOST) * steps[0].top1["retain"]
