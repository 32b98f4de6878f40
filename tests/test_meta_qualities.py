"""The qualities of a metric, against cases worked out by hand."""

from __future__ import annotations

import math
import random

import pytest
from scipy.stats import rankdata

from benchmark.meta.qualities import barrier, faithfulness, monotonicity, repeatability, seed_noise, under_quantisation, under_relearning


def test_faithfulness_of_a_metric_that_always_tells_of_one_that_says_nothing_and_of_one_that_is_always_wrong() -> None:
    assert faithfulness([3.0, 4.0], [1.0, 2.0], "higher") == 1.0
    assert faithfulness([3.0, 3.0], [3.0, 3.0], "higher") == 0.5
    assert faithfulness([3.0, 4.0], [1.0, 2.0], "lower") == 0.0
    assert faithfulness([1.0, 2.0], [3.0, 4.0], "lower") == 1.0


def test_faithfulness_counts_pairs_and_halves_ties() -> None:
    # of 2 above 1 and 3: one of two; of 3 above 1, level with 3: one and a half of two
    assert faithfulness([2.0, 3.0], [1.0, 3.0], "higher") == (1 + 1.5) / 4


def test_faithfulness_is_the_rank_statistic() -> None:
    rng = random.Random(0)
    knowing, ignorant = [[float(rng.randint(0, 9)) for _ in range(count)] for count in (9, 5)]
    ranks = rankdata([*knowing, *ignorant])[: len(knowing)]
    mann_whitney = sum(ranks) - len(knowing) * (len(knowing) + 1) / 2
    assert faithfulness(knowing, ignorant, "higher") == pytest.approx(mann_whitney / (9 * 5), abs=1e-15)


@pytest.mark.parametrize("pools", [([], [1.0]), ([1.0], [])])
def test_faithfulness_needs_both_pools(pools: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="a pool of models is empty"):
        faithfulness(*pools, "higher")


def test_monotonicity() -> None:
    shares = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert monotonicity(shares, [1.0, 2.0, 4.0, 8.0, 16.0], "higher") == pytest.approx(1.0)
    assert monotonicity(shares, [5.0, 4.0, 3.0, 2.0, 1.0], "lower") == pytest.approx(1.0)
    assert monotonicity(shares, [5.0, 4.0, 3.0, 2.0, 1.0], "higher") == pytest.approx(-1.0)
    assert monotonicity(shares, [7.0] * 5, "higher") == 0.0
    # of the 10 pairs the two last are the wrong way round: (9 - 1) / 10
    assert monotonicity(shares, [1.0, 2.0, 3.0, 5.0, 4.0], "higher") == pytest.approx(0.8)
    # 9 pairs in order, 1 tied: 9 / sqrt(10 * 9)
    assert monotonicity(shares, [1.0, 2.0, 3.0, 4.0, 4.0], "higher") == pytest.approx(9 / math.sqrt(90))


def test_monotonicity_needs_grades() -> None:
    with pytest.raises(ValueError, match="two grades"):
        monotonicity([0.5, 0.5], [1.0, 2.0], "higher")


def test_repeatability_is_the_intraclass_correlation() -> None:
    # rows (1, 3), (5, 7): means 2 and 6, B = 2 * 8 = 16, W = 2; (16 - 2) / (16 + 2)
    assert repeatability([[1.0, 3.0], [5.0, 7.0]]) == pytest.approx(14 / 18)
    assert repeatability([[1.0, 1.0], [5.0, 5.0], [9.0, 9.0]]) == 1.0
    # texts make no difference: B = 0, so (0 - W) / (0 + W)
    assert repeatability([[1.0, 3.0], [1.0, 3.0]]) == -1.0
    assert repeatability([[2.0, 2.0], [2.0, 2.0]]) is None


def test_repeatability_of_shrout_and_fleiss() -> None:
    """Six targets by four judges, their table 2: ICC(1,1) = 0.17."""
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert repeatability(ratings) == pytest.approx(0.166, abs=5e-4)


@pytest.mark.parametrize("table", [[[1.0, 2.0]], [[1.0], [2.0]]])
def test_repeatability_needs_texts_and_seeds(table: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="two training texts and two seeds"):
        repeatability(table)


def test_seed_noise_is_the_pooled_deviation_over_the_gap() -> None:
    # variances 2 and 0, pooled 1; means 2 and 12
    assert seed_noise([[1.0, 3.0], [12.0, 12.0]], [1.0, 3.0], [12.0, 12.0]) == pytest.approx(0.1)
    assert seed_noise([[1.0, 3.0], [2.0, 2.0]], [1.0, 3.0], [2.0, 2.0]) is None


def test_q_is_how_little_quantisation_changes() -> None:
    assert under_quantisation(1.0, 3.0) == 0.5
    assert under_quantisation(-1.0, -3.0) == 0.5
    assert under_quantisation(1.0, -3.0) == 0.0
    assert under_quantisation(0.0, 2.0) == 0.0


def test_r_is_how_alike_two_changes_are() -> None:
    assert under_relearning(3.0, 3.0) == 1.0
    assert under_relearning(3.0, 1.0) == 0.5
    assert under_relearning(1.0, -3.0) == 0.0


def test_q_and_r_have_no_value_where_nothing_moved() -> None:
    # an AUC of 1 before and after; the reference's a pair further, or not
    assert under_quantisation(1.0, 1.0) is None
    assert under_quantisation(0.0, 0.0) is None
    for changes in ((0.0, 0.0), (0.0, 1 / 36), (1 / 36, 0.0)):
        assert under_relearning(*changes) is None


def test_barrier_is_the_highest_rise_above_the_straight_line() -> None:
    assert barrier([1.0, 1.5, 2.0]) == 0.0
    assert barrier([1.0, 1.2, 2.0]) == 0.0
    # the line has 1.5 in the middle
    assert barrier([1.0, 3.0, 2.0]) == pytest.approx(1.5)
