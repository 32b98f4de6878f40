"""Intervals of scores: by hand, against scipy's where the score is a plain mean, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from seed_cells import plain, simulated, texts

from benchmark.chance import Component, estimate, student
from benchmark.scores import Interval, SeedCell

ONE = np.array([0.31, 0.25, 0.40, 0.12, 0.36, 0.28])
OTHER = np.array([0.20, 0.22, 0.31, 0.14])


def test_of_one_run_it_is_the_t_interval_over_documents() -> None:
    low, high = stats.t.interval(0.95, len(ONE) - 1, ONE.mean(), stats.sem(ONE))
    assert estimate([[plain(ONE)]]) == pytest.approx((ONE.mean(), low, high))


@pytest.mark.parametrize("by", ["target_seed", "seed"])
def test_of_documents_that_agree_it_is_the_t_interval_over_seeds(by: str) -> None:
    scores = [0.5, 0.7, 0.6]
    low, high = stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
    cells = [plain([score] * 4, **{by: seed}) for seed, score in enumerate(scores)]
    assert estimate([cells]) == pytest.approx((0.6, low, high))


def test_two_tasks_by_hand() -> None:
    """Two target seeds on the first: 0.2 and 0.4 on one document, 0.4 and 0.6 on the other. One on the second: 0.1 and 0.5."""
    first = [plain([0.2, 0.4], target_seed=0), plain([0.4, 0.6], target_seed=1)]
    # documents 0.3 and 0.5, seeds 0.3 and 0.5: either has a variance of 0.02 / 2, a quarter of it in the mean of two tasks; the
    # documents of the second have 0.08 / 2, a quarter of it too; all have one degree of freedom
    parts = (0.0025, 0.0025, 0.01)
    half = float(stats.t.ppf(0.975, 0.015**2 / sum(part**2 for part in parts))) * math.sqrt(0.015)
    assert estimate([first, [plain([0.1, 0.5])]]) == pytest.approx((0.35, 0.35 - half, 0.35 + half))


def test_target_seeds_count_alike_however_many_method_seeds_they_have() -> None:
    cells = [plain([0.0] * 3), plain([0.2] * 3, seed=1), plain([0.7] * 3, target_seed=1)]
    low, high = stats.t.interval(0.95, 1, 0.4, 0.3)
    assert estimate([cells]) == pytest.approx((0.4, low, high))


def test_documents_of_a_reference_of_its_own_are_a_part_by_themselves() -> None:
    """The reference's mean loss is 3, so that half of the gap is forgotten; it is as uncertain as its documents are."""
    unlearned, target = texts([2.5] * 3), texts([2.0] * 3)
    steady, spread = texts([3.0] * 4, name="h"), texts([2.8, 3.2, 2.9, 3.1], name="h")
    assert estimate([[SeedCell(0, 0, unlearned, target, steady)]]) == pytest.approx((0.5, 0.5, 0.5))
    found = estimate([[SeedCell(0, 0, unlearned, target, spread)]])
    # the score, 0.5 / (q* - 2), without each document: q* is 0.2 / 3 less or more, 0.1 / 3 more or less
    without = [0.5 / (1 + off / 3) for off in (0.2, -0.2, 0.1, -0.1)]
    pseudo = [4 * 0.5 - 3 * value for value in without]
    half = float(stats.t.ppf(0.975, 3)) * float(stats.sem(pseudo))
    assert found == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_the_target_and_the_reference_are_certain_whatever_the_seeds() -> None:
    target, reference = texts([2.0, 2.3, 1.8]), texts([3.0, 3.1, 3.6])
    assert estimate([[SeedCell(seed, 0, target, target, reference) for seed in range(2)]] * 2) == Interval(0, 0, 0)
    assert estimate([[SeedCell(seed, 0, reference, target, reference) for seed in range(2)]] * 2) == Interval(1, 1, 1)
    assert estimate([[SeedCell(0, 0, texts([2.0]), texts([2.0]), texts([3.0]))]]) == Interval(0, 0, 0)


def test_one_document_gives_no_interval() -> None:
    found = estimate([[plain(ONE)], [plain([0.9])]])
    assert found.value == pytest.approx((ONE.mean() + 0.9) / 2)
    assert (found.low, found.high, found.known) == (-math.inf, math.inf, False)
    holdout = texts([3.0], name="h")
    assert not estimate([[SeedCell(0, 0, texts([2.5, 2.6]), texts([2.0, 2.1]), holdout)]]).known


@pytest.mark.parametrize(("tasks", "least"), [(1, 0.88), (3, 0.93), (6, 0.93)])
@pytest.mark.parametrize("seeds", [2, 3])
def test_an_interval_holds_the_truth_about_as_often_as_it_says(tasks: int, least: float, seeds: int) -> None:
    """On six documents a task, with seeds that matter most. Nested percentile bootstraps, added in quadrature, do in 71 to 86 %."""
    rng = np.random.default_rng(21)
    found = [estimate(simulated(rng, 0.3, tasks=tasks, seeds=seeds, training=0.06)) for _ in range(300)]
    assert np.mean([interval.low <= 0.3 <= interval.high for interval in found]) >= least


def test_student_by_hand() -> None:
    error, p = student(1.0, [Component(0.09, 5), Component(0.16, 2)])
    freedom = 0.25**2 / (0.09**2 / 5 + 0.16**2 / 2)
    assert error == pytest.approx(0.5)
    assert p == pytest.approx(2 * stats.t.sf(2.0, freedom))
