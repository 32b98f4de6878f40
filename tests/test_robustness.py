"""Robustness to hyper-parameters: whole grids of settings and steps, read off the records."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from records import record, spec

from benchmark.record import Cost, Record, Step
from benchmark.sweep.robustness import Point, caption, grid_points, robustness, table

BUDGET = 0.05


def run(path: Sequence[tuple[int, float, float | None]], method: str = "ascent", task: str = "arxiv", lr: float = 1e-4) -> Record:
    """A record that passes through (step, damage, score)."""
    top1 = {"forget": 0.5, "retain": 0.5}
    steps = [Step(step=number, nll={}, top1=top1, damage=damage, score=score, cost=Cost()) for number, damage, score in path]
    return record(spec(method, task, hyperparameters={"lr": lr})).model_copy(update={"trajectory": tuple(steps)})


STOPPED = run([(0, 0.0, 0.0), (1, 0.01, 0.1), (3, 0.04, 0.3), (6, 0.06, 0.5), (8, 0.3, 0.9), (11, 0.5, -1.0)])
ENDED = run([(0, 0.0, 0.0), (2, 0.0, 0.02), (11, 0.01, 0.1), (20, 0.02, -0.2)], lr=1e-5)


def test_points_are_the_measured_steps_not_beyond_those_asked_for() -> None:
    assert grid_points(STOPPED, BUDGET, (1, 2, 5, 7)) == [Point(True, 0.1), Point(True, 0.1), Point(True, 0.3), Point(False, 0.0)]
    assert grid_points(ENDED, BUDGET, (1, 10, 15, 20)) == [Point(True, 0.0), Point(True, 0.02), Point(True, 0.1), Point(True, -0.2)]


def test_a_run_stopped_past_the_budgets_is_outside_from_there_on_and_one_that_ended_has_no_more_points() -> None:
    assert grid_points(STOPPED, BUDGET, (11, 12, 60)) == [Point(False, 0.0)] * 3
    assert grid_points(ENDED, BUDGET, (20, 21, 60)) == [Point(True, -0.2)]


def test_a_diverged_run_is_outside_from_where_it_diverged() -> None:
    diverged = ENDED.model_copy(update={"status": "diverged"})
    assert grid_points(diverged, BUDGET, (20, 21)) == [Point(True, -0.2), Point(False, 0.0)]
    assert grid_points(diverged.model_copy(update={"trajectory": ()}), BUDGET, (5, 10)) == [Point(False, 0.0)] * 2


def test_without_scores_there_are_no_points() -> None:
    assert grid_points(run([(0, 0.0, None), (5, 0.01, None)]), BUDGET, (5,)) == []
    assert robustness([run([(0, 0.0, None), (5, 0.01, None)])], BUDGET) == []


def test_by_hand() -> None:
    steps = (2, 6, 20)
    # arxiv, lr 1e-4: 0.1 inside, outside, outside; lr 1e-5: 0.02, 0.02, -0.2, all inside. Sorted: -0.2 0 0 0.02 0.02 0.1.
    # books: 0.4, 0.6, and no third point.
    books = run([(0, 0.0, 0.0), (2, 0.0, 0.4), (6, 0.05, 0.6)], task="books")
    (line,) = robustness([STOPPED, ENDED, books], BUDGET, steps)
    assert (line.method, line.tasks, line.points) == ("ascent", 2, 8)
    expected = ((4 / 6 + 1) / 2, (0.1 + 0.6) / 2, (0.01 + 0.5) / 2)
    assert (line.inside, line.best, line.median) == pytest.approx(expected)


def test_lines_are_ordered_by_median_and_failures_are_not_averaged_over() -> None:
    good = run([(0, 0.0, 0.0), (5, 0.01, 0.5)], method="good")
    fair = run([(0, 0.0, 0.0), (5, 0.01, 0.2)], method="fair")
    fragile = [run([(0, 0.0, 0.0), (5, 0.01, 0.9)], method="fragile"), record(spec("fragile", "books"), status="failed", reason="no")]
    lines = robustness([fair, *fragile, good], BUDGET, (5,))
    assert [(line.method, line.inside, line.median) for line in lines] == [("good", 1, 0.5), ("fair", 1, 0.2), ("fragile", None, None)]
    told = table(lines, BUDGET, (5,))
    assert told.caption == caption(BUDGET, (5,))
    assert told.rows[0] == ("good", "1", "100.0 %", "0.50", "0.50")
    assert told.rows[2] == ("fragile", "1", "–", "–", "–")  # noqa: RUF001


def test_the_caption_says_what_counts_as_zero() -> None:
    assert "after 5, 10, 20, 40, 60 steps" in caption(BUDGET)
    assert "within 5 % utility damage" in caption(BUDGET)
    assert "A point outside counts as 0" in caption(BUDGET)
