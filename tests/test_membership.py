"""What is made of attack scores, against cases worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from benchmark.panel.membership import auc, auc_closeness, by_chance, membership_auc, separable, true_positive_rate
from benchmark.record import Documents, MetricValue
from benchmark.scores import Interval

rates = st.floats(0, 1)
some_scores = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=8)


class TestAuc:
    @pytest.mark.parametrize(
        ("members", "others", "expected"),
        [
            ((1, 2, 3), (4, 5), 1.0),
            ((4, 5), (1, 2, 3), 0.0),
            ((1, 4), (2, 3), 0.5),
            ((2, 2), (2, 2, 2), 0.5),
            ((1, 2), (2, 3), 3.5 / 4),
            ((3, 1), (2, 0), 1 / 4),
        ],
    )
    def test_by_hand(self, members: Sequence[float], others: Sequence[float], expected: float) -> None:
        assert membership_auc(members, others).value == expected

    @given(some_scores, some_scores)
    def test_is_signed_and_never_turned_over(self, members: list[float], others: list[float]) -> None:
        """Yao et al.'s mia_eval.py takes 1 - AUC where it is below 0.5, and so reports too much forgetting as a leak."""
        assert membership_auc(members, others).value == pytest.approx(1 - membership_auc(others, members).value)

    @given(some_scores, some_scores, st.randoms())
    def test_the_order_of_examples_does_not_matter(self, members: list[float], others: list[float], random: Random) -> None:
        shuffled = random.sample(members, len(members)), random.sample(others, len(others))
        assert membership_auc(*shuffled).value == pytest.approx(membership_auc(members, others).value)

    def test_interval(self) -> None:
        rng = np.random.default_rng(5)
        found = membership_auc(rng.normal(3.0, 0.5, 40).tolist(), rng.normal(3.3, 0.5, 30).tolist())
        assert 0.5 < found.low < found.value < found.high < 1
        assert 0.15 < found.high - found.low < 0.35  # Hanley & McNeil's standard error for 40 and 30 documents is about 0.06

    def test_the_interval_does_not_collapse_where_all_members_lie_on_one_side(self) -> None:
        # the lower end p solves (1 - p)^2 = z^2 p (1 - p) / 36 (1 + 5 (1 - p) / (2 - p) + 5 p / (1 + p)), by hand at p = 0.6892
        assert membership_auc(range(6), range(6, 12)) == pytest.approx((1.0, 0.6892, 1.0), abs=1e-4)
        assert membership_auc(range(6, 12), range(6)) == pytest.approx((0.0, 0.0, 1 - 0.6892), abs=1e-4)

    def test_the_interval_holds_the_true_value_as_often_as_it_says(self) -> None:
        """A bootstrap holds 0.95 in four of five cases of six documents a side."""
        rng = np.random.default_rng(0)
        shift = 2**0.5 * ndtri(0.95)
        drawn = rng.normal(size=(400, 2, 6))
        held = [low <= 0.95 <= high for one in drawn for _, low, high in [membership_auc(one[0], one[1] + shift)]]
        assert np.mean(held) > 0.93

    def test_a_document_has_one_vote_however_long_it_is(self) -> None:
        short_and_long = Documents(ids=("a", "b"), nll=(20.0, 900.0), correct=(0, 0), tokens=(10, 300))
        assert short_and_long.nll_each == (2.0, 3.0)


class TestTruePositiveRate:
    OTHERS = tuple(float(score) for score in range(10, 30))

    def test_one_of_twenty_others_may_be_taken_for_a_member(self) -> None:
        # 10 may be; the threshold is therefore 11, and what scores 11 is not below it
        assert true_positive_rate([[9.0, 10.5], [11.0, 40.0]], [self.OTHERS]).value == 0.5

    def test_none_of_nineteen_may(self) -> None:
        assert true_positive_rate([[9.0, 10.5], [11.0, 40.0]], [self.OTHERS[1:]]).value == 0.5
        assert true_positive_rate([[11.5, 10.5], [11.0, 40.0]], [self.OTHERS[1:]]).value == 0.25

    def test_is_of_five_percent_not_of_a_tenth_of_a_percent(self) -> None:
        """Yao et al.'s mia_eval.py computes the rate at 5 % and labels it as that at 0.1 %."""
        hundred = [float(score) for score in range(100)]
        assert true_positive_rate([[4.5]], [hundred]).value == 1.0
        assert true_positive_rate([[5.5]], [hundred]).value == 0.0

    def test_ties_find_nobody(self) -> None:
        assert true_positive_rate([[1.0] * 5], [[1.0] * 40]).value == 0.0

    def test_interval_draws_whole_documents(self) -> None:
        known, unknown = [0.0] * 10, [50.0] * 10
        found = true_positive_rate([known, unknown], [self.OTHERS, self.OTHERS])
        assert found == Interval(0.5, 0.0, 1.0)  # both documents are the known one, or the unknown, a quarter of the time each
        assert true_positive_rate([known + unknown] * 2, [self.OTHERS] * 2) == Interval(0.5, 0.5, 0.5)


class TestClosenessToTheReference:
    def test_by_hand(self) -> None:
        assert auc_closeness(0.6, 0.6) == 1
        assert auc_closeness(1.0, 0.5) == 0
        assert auc_closeness(0.0, 0.75) == 0
        assert auc_closeness(1.0, 0.75) == pytest.approx(1 - 0.25 / 0.75)

    @given(rates, rates)
    def test_is_bounded(self, unlearned: float, reference: float) -> None:
        assert 0 <= auc_closeness(unlearned, reference) <= 1

    @given(st.floats(0, 0.4), st.floats(0.4, 0.6))
    def test_too_much_forgetting_costs_what_too_little_costs(self, distance: float, reference: float) -> None:
        assert auc_closeness(reference + distance, reference) == pytest.approx(auc_closeness(reference - distance, reference))

    def test_does_not_blow_up_where_privleak_does(self) -> None:
        """OpenUnlearning's users met a PrivLeak of 5215 (issue 167): its denominator, 1 - AUC of the reference, was near 0."""
        unlearned, reference = 0.0, 0.98
        privleak = 100 * ((1 - unlearned) - (1 - reference)) / (1 - reference)
        assert privleak == pytest.approx(4900)
        assert auc_closeness(unlearned, reference) == 0


class TestByChance:
    @staticmethod
    def interval(members: Sequence[float], others: Sequence[float]) -> MetricValue:
        scores = np.array([*members, *others])
        member = np.arange(len(scores)) < len(members)
        value = auc(scores, member)
        return MetricValue(agg_value=value, interval=by_chance(value, lambda labels: auc(scores, labels), member))

    def test_three_documents_a_side_never_tell_anything(self) -> None:
        # 1 in 20 orders of six documents is as perfect, and 1 in 20 as perfectly wrong
        assert not separable(self.interval((1, 2, 3), (4, 5, 6)))

    def test_six_documents_a_side_do_where_they_are_told_apart_perfectly(self) -> None:
        assert separable(self.interval(range(6), range(6, 12)))
        assert separable(self.interval(range(6, 12), range(6)))

    def test_is_seldom_wrong(self) -> None:
        rng = np.random.default_rng(0)
        wrong = sum(separable(self.interval(rng.normal(size=8).tolist(), rng.normal(size=8).tolist())) for _ in range(100))
        assert wrong <= 11  # of 100 at 5 %, more are once in a hundred times

    def test_contains_the_value_and_stays_in_bounds(self) -> None:
        for members, others in (((1, 2, 3), (4, 5, 6)), ((4, 5, 6), (1, 2, 3)), ((1, 5, 3), (4, 2, 6)), ((1, 1), (1, 1))):
            found = self.interval(members, others)
            assert found.agg_value is not None
            assert found.interval is not None
            assert 0 <= found.interval[0] <= found.agg_value <= found.interval[1] <= 1


@pytest.mark.parametrize(
    ("interval", "expected"), [((0.6, 0.9), True), ((0.1, 0.4), True), ((0.4, 0.9), False), ((0.5, 0.9), False), (None, False)]
)
def test_sets_are_separable_where_the_interval_leaves_out_one_half(interval: tuple[float, float] | None, expected: bool) -> None:
    assert separable(MetricValue(agg_value=0.7, interval=interval)) is expected
