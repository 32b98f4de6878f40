"""How far two attacks' AUCs are apart, on the same documents: by hand, and how often the interval holds the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from panels import attack

from benchmark.leaderboard.difference import difference, interval
from benchmark.panel.membership import Z, auc, auc_interval
from benchmark.record import MetricValue
from benchmark.scores import Interval


def of_scores(members: Sequence[float], others: Sequence[float], ends: tuple[float, float] | None = None) -> MetricValue:
    scores, member = np.array([*members, *others]), np.array([True] * len(members) + [False] * len(others))
    each = {f"document-{index}": {"score": float(score), "member": float(member[index])} for index, score in enumerate(scores)}
    return MetricValue(agg_value=auc(scores, member), value_by_index=each, interval=ends)


def apart(first: MetricValue, second: MetricValue) -> Interval:
    found = difference(first, second)
    assert found is not None
    return found


class TestInterval:
    @pytest.mark.parametrize(("value", "expected"), [(1.0, (0.6897, 1.0)), (0.0, (0.0, 0.3103))])
    def test_where_all_members_lie_on_one_side(self, value: float, expected: tuple[float, float]) -> None:
        assert auc_interval(value, 6, 6) == pytest.approx(expected, abs=1e-3)

    @pytest.mark.parametrize("value", [0.05, 0.5, 0.9])
    @pytest.mark.parametrize("count", [2, 6, 50])
    def test_an_end_is_an_auc_of_which_the_value_is_just_improbable(self, value: float, count: int) -> None:
        for end in auc_interval(value, count, count):
            both, twice = end / (2 - end), 2 * end**2 / (1 + end)  # Hanley & McNeil 1982, as they write it
            variance = (end * (1 - end) + (count - 1) * (both - end**2 + twice - end**2)) / count**2
            assert abs(value - end) == pytest.approx(Z * variance**0.5)

    def test_an_older_record_s_is_worked_out_again(self) -> None:
        assert interval(of_scores(range(6), range(6, 12), ends=(1.0, 1.0))) == auc_interval(1.0, 6, 6)

    def test_of_what_is_no_auc_of_documents_it_is_the_recorded_one(self) -> None:
        recorded = MetricValue(agg_value=0.5, value_by_index={"mia_loss": {"tpr": 0.5}}, interval=(0.1, 0.9))
        assert interval(recorded) == (0.1, 0.9)
        assert interval(of_scores([0.0], [1.0, 2.0])) is None  # of one document there is none
        assert interval(MetricValue(agg_value=None, reason="why")) is None


class TestDifference:
    def test_of_a_sure_attack_and_one_by_chance_the_intervals_are_independent(self) -> None:
        # an AUC of 1 does not vary, so that there is no correlation: 0.5 on either side of 1 - 0.5
        low, high = auc_interval(1.0, 6, 6)
        other_low, other_high = auc_interval(0.5, 6, 6)
        assert apart(attack(6), attack(3)) == pytest.approx((0.5, 0.5 - math.hypot(1 - low, other_high - 0.5), 0.5 + 0.5 - other_low))
        assert high == 1.0

    def test_of_the_same_scores_there_is_no_difference_and_no_doubt(self) -> None:
        even = of_scores([1, 2, 5, 6], [3, 4, 0, 7])
        assert even.agg_value == 0.5
        assert apart(even, even) == pytest.approx((0.0, 0.0, 0.0))

    def test_two_sure_attacks_are_not_told_to_be_equal(self) -> None:
        value, low, high = apart(attack(6), attack(6))
        assert value == 0
        assert (low, high) == pytest.approx((-0.3103, 0.3103), abs=1e-3)

    def test_correlation_by_hand(self) -> None:
        # members' shares of wins 1, 1/2 and 1/2, 1; others' 1, 1/2 and 1/2, 1: covariances of -1/8 against variances of 1/8
        first, second = of_scores([0, 2], [3, 1]), of_scores([2, 0], [1, 3])
        low, high = auc_interval(0.75, 2, 2)
        below, above = 0.75 - low, high - 0.75
        assert apart(first, second) == pytest.approx((0.0, -(below + above), below + above))

    def test_swapped_it_is_turned_over(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(20):
            first, second = (of_scores(rng.normal(-1, 1, 8).round(1), rng.normal(0, 1, 7).round(1)) for _ in range(2))
            value, low, high = apart(first, second)
            assert apart(second, first) == pytest.approx((-value, -high, -low))

    def test_the_order_of_documents_does_not_matter(self) -> None:
        first, second = of_scores([0, 2, 5], [3, 1, 4]), of_scores([1, 2, 3], [2, 6, 0])
        turned = second.model_copy(update={"value_by_index": dict(reversed(second.value_by_index.items()))})
        assert apart(first, second) == apart(first, turned)

    @pytest.mark.parametrize(("shift", "other"), [(3.0, 0.0), (1.0, 1.0), (-1.0, 1.0)])
    @pytest.mark.parametrize("alike", [0.0, 0.8])
    def test_the_interval_holds_the_truth_about_as_often_as_it_says(self, shift: float, other: float, alike: float) -> None:
        rng = np.random.default_rng(1)
        truth = _normal(shift / 2**0.5) - _normal(other / 2**0.5)
        held = []
        for _ in range(300):
            members, others = (rng.multivariate_normal(at, [[1, alike], [alike, 1]], 8) for at in ([-shift, -other], [0, 0]))
            _, low, high = apart(*(of_scores(members[:, index], others[:, index]) for index in (0, 1)))
            held.append(low <= truth <= high)
        assert 0.9 <= np.mean(held) <= 0.99


def _normal(value: float) -> float:
    return 0.5 * (1 + math.erf(value / 2**0.5))
