"""Trajectories: which steps are measured, which is chosen inside each budget, and how each of them ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import LanguageModel, Request, UnlearningMethod, Unsupported
from benchmark.evaluation import Judgement
from benchmark.measure import Diverged
from benchmark.record import Protocol
from benchmark.snapshot import restore
from benchmark.trajectory import Trajectory, follow

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]
Point = tuple[float, float | None]
"""Damage and forget score of a step."""

BIAS = "gpt_neox.final_layer_norm.bias"


@dataclass(frozen=True)
class Counting(UnlearningMethod):
    """Writes the number of the step into the model; may do something else before a step."""

    steps: int | None = None
    before: Mapping[int, Callable[[LanguageModel], object]] = field(default_factory=dict)
    closed: list[bool] = field(default_factory=list)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        try:
            for number in itertools.count(1) if self.steps is None else range(1, self.steps + 1):
                self.before.get(number, lambda lm: None)(lm)
                with torch.no_grad():
                    lm.model.get_parameter(BIAS).fill_(number)
                yield
        finally:
            self.closed.append(True)


@dataclass
class Scripted:
    """An evaluation that gives step n, as written into the model, the n-th of the given points."""

    points: Callable[[int], Point]
    removes: str = "documents"
    top1_retain: Callable[[int], float] = lambda number: 0.5
    difference: Callable[[int], float] = lambda number: 0.0
    judged: list[int] = field(default_factory=list)

    @property
    def untouched(self) -> Judgement:
        return self._judgement(0, 0.0, None if self.points(1)[1] is None else 0.0)

    def judge(self, lm: LanguageModel) -> Judgement:
        value = lm.model.get_parameter(BIAS)[0].item()
        if value != value:
            raise Diverged("the loss on the forget set is not finite")
        self.judged.append(int(value))
        return self._judgement(int(value), *self.points(int(value)))

    def _judgement(self, number: int, damage: float, score: float | None) -> Judgement:
        return Judgement({"forget": 1.0}, {"forget": 0.5, "retain": self.top1_retain(number)}, damage, score, self.difference(number))


def listed(points: Iterable[Point]) -> Callable[[int], Point]:
    given = list(points)
    return lambda number: given[min(number, len(given)) - 1]


EVERY_STEP = Protocol(growth=1.0, max_steps=50)


@pytest.fixture
def run(tiny_lm: Models, request_for: Requests, tmp_path: Path) -> Callable[..., Trajectory]:
    lm = tiny_lm()
    request = request_for(lm)

    def run(method: UnlearningMethod, evaluation: Scripted, protocol: Protocol = EVERY_STEP) -> Trajectory:
        return follow(method, tiny_lm(), request, evaluation, protocol, tmp_path)  # type: ignore[arg-type]

    return run


def measured(trajectory: Trajectory) -> list[int]:
    return [step.step for step in trajectory.steps]


def raises(error: BaseException) -> Callable[[LanguageModel], None]:
    def act(lm: LanguageModel) -> None:
        raise error

    return act


def harmless(number: int) -> Point:
    return 0.0, 0.1


class TestSchedule:
    @pytest.mark.parametrize(
        ("steps", "growth", "expected"),
        [
            (6, 1.0, [0, 1, 2, 3, 4, 5, 6]),
            (10, 2.0, [0, 1, 2, 4, 8, 10]),  # the last one too
            (8, 2.0, [0, 1, 2, 4, 8]),  # but not twice
            (12, 1.2, [0, 1, 2, 3, 4, 5, 6, 8, 10, 12]),
            (1, 2.0, [0, 1]),
        ],
    )
    def test_is_geometric_and_includes_the_last(self, run: Any, steps: int, growth: float, expected: list[int]) -> None:
        trajectory = run(Counting(steps), Scripted(harmless), Protocol(growth=growth))
        assert measured(trajectory) == expected
        assert (trajectory.status, trajectory.reason) == ("ok", None)

    def test_every_measured_step_is_at_least_growth_times_the_one_before(self, run: Any) -> None:
        steps = measured(run(Counting(100), Scripted(harmless), Protocol(growth=1.37)))
        assert steps[0] == 0
        assert steps[-1] == 100
        assert all(b >= min(1.37 * a, a + 1) for a, b in itertools.pairwise(steps[1:-1]))

    def test_one_that_never_ends_is_cut(self, run: Any) -> None:
        method = Counting()
        trajectory = run(method, Scripted(harmless), Protocol(growth=2.0, max_steps=11))
        assert measured(trajectory) == [0, 1, 2, 4, 8, 11]
        assert (trajectory.status, trajectory.reason) == ("ok", "cut at the limit of 11 steps")
        assert method.closed == [True]

    def test_progress_is_told_every_step(self, tiny_lm: Models, request_for: Requests, tmp_path: Path) -> None:
        lm, told = tiny_lm(), []
        follow(Counting(5), lm, request_for(lm), Scripted(harmless), Protocol(growth=9.0), tmp_path, told.append)  # type: ignore[arg-type]
        assert told == [1, 2, 3, 4, 5]


class TestChoice:
    def test_the_best_score_inside_each_budget(self, run: Any, tiny_lm: Models, tmp_path: Path) -> None:
        points = [(0.005, 0.1), (0.008, 0.2), (0.03, 0.15), (0.04, 0.5), (0.1, 0.4), (0.19, 0.6), (0.2, 0.7), (0.21, 0.9)]
        trajectory = run(Counting(8), Scripted(listed(points)))
        assert [(choice.budget, choice.step, choice.merit) for choice in trajectory.chosen] == [
            (0.01, 2, 0.2),
            (0.05, 4, 0.5),
            (0.2, 7, 0.7),
        ]
        for choice in trajectory.chosen:  # and each can be brought back
            lm = tiny_lm()
            restore(lm.model, lm.model.state_dict(), choice.snapshot)
            assert set(lm.model.get_parameter(BIAS).tolist()) == {float(choice.step)}
        assert len(list(tmp_path.iterdir())) == 3  # what no budget chose is not kept

    def test_a_tie_keeps_the_earlier_step(self, run: Any) -> None:
        trajectory = run(Counting(3), Scripted(listed([(0.0, 0.3), (0.0, 0.3), (0.0, 0.3)])))
        assert [choice.step for choice in trajectory.chosen] == [1, 1, 1]

    def test_the_untouched_target_where_nothing_helps(self, run: Any, tmp_path: Path) -> None:
        trajectory = run(Counting(3), Scripted(listed([(0.0, 0.0), (0.0, -0.3), (0.3, 0.8)])))
        assert [(choice.step, choice.snapshot) for choice in trajectory.chosen] == [(0, None)] * 3
        assert not list(tmp_path.iterdir())

    def test_over_forgetting_is_not_chosen_over_less(self, run: Any) -> None:
        trajectory = run(Counting(3), Scripted(listed([(0.0, 0.5), (0.0, 0.9), (0.0, 0.2)])))
        assert [choice.step for choice in trajectory.chosen] == [2, 2, 2]

    def test_without_a_score_the_top1_difference_decides(self, run: Any) -> None:
        evaluation = Scripted(
            listed([(0.0, None)] * 3), removes="domain", difference=lambda number: {0: 0.0, 1: 0.1, 2: 0.4, 3: 0.2}[number]
        )
        trajectory = run(Counting(3), evaluation)
        assert [(choice.step, choice.merit) for choice in trajectory.chosen] == [(2, 0.4)] * 3

    def test_cost_is_that_of_the_steps_up_to_it(self, run: Any) -> None:
        def work(lm: LanguageModel) -> None:
            lm.model(input_ids=torch.ones(2, 5, dtype=torch.long))

        trajectory = run(Counting(3, {1: work, 2: work, 3: work}), Scripted(listed([(0.0, 0.1), (0.03, 0.2), (0.1, 0.3)])))
        assert [choice.cost.forward_tokens for choice in trajectory.chosen] == [10, 20, 30]
        assert [step.cost.forward_tokens for step in trajectory.steps] == [0, 10, 20, 30]


class TestEarlyStop:
    def test_past_the_largest_budget_twice(self, run: Any) -> None:
        method = Counting()
        trajectory = run(method, Scripted(listed([(0.1, 0.1), (0.21, 0.2), (0.19, 0.3), (0.3, 0.4), (0.4, 0.5), (0.0, 0.9)])))
        assert measured(trajectory) == [0, 1, 2, 3, 4, 5]
        assert (trajectory.status, trajectory.reason) == ("ok", "stopped at step 5: past the largest utility budget")
        assert method.closed == [True]

    def test_a_domain_task_goes_on_until_half_of_retain_top1_is_gone(self, run: Any) -> None:
        evaluation = Scripted(lambda number: (9.0, 0.1), removes="domain", top1_retain=lambda number: 0.5 - 0.05 * number)
        trajectory = run(Counting(), evaluation)
        assert measured(trajectory) == [0, 1, 2, 3, 4, 5]

    def test_a_domain_task_does_not_stop_for_top1_alone(self, run: Any) -> None:
        evaluation = Scripted(lambda number: (0.1, 0.1), removes="domain", top1_retain=lambda number: 0.5 if number == 0 else 0.0)
        assert measured(run(Counting(7), evaluation)) == list(range(8))


class TestFailure:
    def test_nan_weights_have_diverged(self, run: Any) -> None:
        def wreck(lm: LanguageModel) -> None:
            lm.model.get_parameter(BIAS).data.fill_(float("nan"))

        @dataclass(frozen=True)
        class Wrecking(Counting):
            def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
                yield from Counting(2).unlearn(lm, request)
                wreck(lm)
                yield

        trajectory = run(Wrecking(), Scripted(harmless))
        assert measured(trajectory) == [0, 1, 2]
        assert trajectory.status == "diverged"
        assert trajectory.reason == "diverged after measured step 2: the loss on the forget set is not finite"

    @pytest.mark.parametrize(
        "error",
        [ValueError("bad luck"), torch.OutOfMemoryError("bad luck"), MemoryError("bad luck"), SystemExit("bad luck"), StopIteration()],
    )
    def test_an_exception_in_the_middle(self, run: Any, error: BaseException) -> None:
        method = Counting(9, {4: raises(error)})
        trajectory = run(method, Scripted(harmless))
        assert measured(trajectory) == [0, 1, 2, 3]
        assert trajectory.status == "failed"
        assert trajectory.reason.startswith("raised after measured step 3: ")
        assert type(error).__name__ in trajectory.reason
        assert method.closed == [True]

    def test_an_exception_before_the_first_step(self, run: Any) -> None:
        trajectory = run(Counting(9, {1: raises(ValueError("no"))}), Scripted(harmless))
        assert (trajectory.status, trajectory.reason) == ("failed", "raised after measured step 0: ValueError: no")
        assert measured(trajectory) == [0]

    def test_one_that_never_yields(self, run: Any) -> None:
        trajectory = run(Counting(0), Scripted(harmless))
        assert (trajectory.status, trajectory.reason) == ("failed", "the method never yielded: nothing was measured")

    def test_one_that_is_no_generator(self, run: Any) -> None:
        class Plain(UnlearningMethod):
            def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
                return None  # type: ignore[return-value]

        trajectory = run(Plain(), Scripted(harmless))
        assert trajectory.status == "failed"
        assert "NoneType" in trajectory.reason

    def test_any_iterator_will_do_and_its_work_is_metered(self, run: Any) -> None:
        class Listing(UnlearningMethod):
            def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
                lm.model(input_ids=torch.ones(1, 7, dtype=torch.long))
                return iter([None, None])

        trajectory = run(Listing(), Scripted(harmless))
        assert measured(trajectory) == [0, 1, 2]
        assert trajectory.steps[1].cost.forward_tokens == 7

    def test_declining_after_all_is_not_failing(self, run: Any) -> None:
        with pytest.raises(Unsupported, match="no general text"):
            run(Counting(3, {1: raises(Unsupported("no general text"))}), Scripted(harmless))

    def test_an_interruption_is_nobodys_fault(self, run: Any) -> None:
        method = Counting(3, {2: raises(KeyboardInterrupt())})
        with pytest.raises(KeyboardInterrupt):
            run(method, Scripted(harmless))
        assert method.closed == [True]

    def test_past_the_largest_budget_what_goes_wrong_costs_no_operating_point(self, run: Any) -> None:
        points = listed([(0.04, 0.5), (0.3, 0.9)])
        trajectory = run(Counting(9, {3: raises(ValueError("overflow"))}), Scripted(points))
        assert (trajectory.status, trajectory.reason) == ("ok", "raised after measured step 2: ValueError: overflow")
        assert [choice.step for choice in trajectory.chosen] == [0, 1, 1]

    def test_back_inside_the_budget_it_does(self, run: Any) -> None:
        points = listed([(0.04, 0.5), (0.3, 0.9), (0.1, 0.9)])
        assert run(Counting(9, {4: raises(ValueError("overflow"))}), Scripted(points)).status == "failed"

    def test_the_meter_leaves_no_hook_behind(self, tiny_lm: Models, request_for: Requests, tmp_path: Path) -> None:
        lm = tiny_lm()
        follow(Counting(2, {2: raises(ValueError())}), lm, request_for(lm), Scripted(harmless), EVERY_STEP, tmp_path)  # type: ignore[arg-type]
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in lm.model.modules())
