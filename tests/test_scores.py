"""Scores against cases worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import baseline

from benchmark import scores
from benchmark.record import Documents

nats = st.floats(0.01, 20)


def test_forget_score_by_hand() -> None:
    assert scores.forget_score(2.0, target=2.0, reference=4.0) == 0
    assert scores.forget_score(3.0, target=2.0, reference=4.0) == 0.5
    assert scores.forget_score(4.0, target=2.0, reference=4.0) == 1
    assert scores.forget_score(1.0, target=2.0, reference=4.0) == -0.5


def test_forgetting_too_much_costs_what_forgetting_too_little_costs() -> None:
    assert scores.forget_score(5.0, target=2.0, reference=4.0) == scores.forget_score(3.0, target=2.0, reference=4.0)
    assert scores.forget_score(12.0, target=2.0, reference=4.0) == -3


def test_forget_score_without_a_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        scores.forget_score(2.0, target=3.0, reference=3.0)


@given(nats, nats, nats)
def test_nothing_scores_above_the_reference(quantity: float, target: float, reference: float) -> None:
    if target != reference:
        assert scores.forget_score(quantity, target, reference) <= 1
        assert scores.forget_score(reference, target, reference) == 1
        assert scores.forget_score(target, target, reference) == 0


def test_damage_counts_from_the_worse_of_target_and_reference() -> None:
    target, reference = {"retain": 3.0, "general": 2.0}, {"retain": 3.1, "general": 1.9}
    assert scores.utility_damage({"retain": 3.1, "general": 2.0}, target, reference) == 0
    assert scores.utility_damage({"retain": 3.2, "general": 2.0}, target, reference) == pytest.approx(math.exp(0.1) - 1)
    assert scores.utility_damage({"retain": 3.0, "general": 2.05}, target, reference) == pytest.approx(math.exp(0.05) - 1)


def test_damage_is_the_worse_of_retain_and_general_and_never_negative() -> None:
    target = {"retain": 3.0, "general": 2.0}
    assert scores.utility_damage({"retain": 3.1, "general": 2.2}, target, {}) == pytest.approx(math.exp(0.2) - 1)
    assert scores.utility_damage({"retain": 2.0, "general": 1.0}, target, {}) == 0
    assert scores.utility_damage({"retain": 3.1, "forget": 9.0}, target, {}) == pytest.approx(math.exp(0.1) - 1)
    assert scores.utility_damage({"forget": 9.0}, target, {}) == 0


def test_damage_of_a_destroyed_model_is_finite() -> None:
    assert math.isfinite(scores.utility_damage({"retain": 1e9}, {"retain": 1.0}, {}))


def test_top1_difference_by_hand() -> None:
    target = {"forget": 0.5, "retain": 0.4}
    assert scores.top1_difference({"forget": 0.25, "retain": 0.36}, target) == pytest.approx(0.5 - 0.1)
    assert scores.top1_difference({"forget": 0.0, "retain": 0.4}, target) == 1
    assert scores.top1_difference(target, target) == 0
    assert scores.top1_difference({"forget": 0.5, "retain": 0.2}, target) == pytest.approx(-0.5)


def test_area_by_hand() -> None:
    assert scores.area_under_curve([(0, 0), (0.1, 0.5)], 0.2) == pytest.approx(0.25)
    assert scores.area_under_curve([(0, 0), (0.05, 0.4), (0.1, 0.8)], 0.2) == pytest.approx((0.05 * 0.4 + 0.1 * 0.8) / 0.2)
    assert scores.area_under_curve([(0, 1)], 0.2) == 1
    assert scores.area_under_curve([], 0.2) == 0


def test_area_counts_only_what_is_attainable_and_better_than_nothing() -> None:
    assert scores.area_under_curve([(0.05, -3.0), (0.3, 1.0)], 0.2) == 0
    assert scores.area_under_curve([(0.05, 0.4), (0.1, -5.0)], 0.2) == pytest.approx(0.15 * 0.4 / 0.2)
    assert scores.area_under_curve([(0.1, 0.5), (0.0, 0.0)], 0.2) == scores.area_under_curve([(0.0, 0.0), (0.1, 0.5)], 0.2)


def test_documents_count_by_their_tokens() -> None:
    long_and_short = Documents(ids=("a", "b"), nll=(300.0, 10.0), correct=(10, 10), tokens=(100, 10))
    assert long_and_short.mean_nll == pytest.approx(310 / 110)
    assert long_and_short.top1 == pytest.approx(20 / 110)


def test_trainings_are_as_far_apart_as_two_of_them_are_on_average() -> None:
    assert scores.mean_distance([3.0, 2.5]) == 0.5
    assert scores.mean_distance([1.0, 2.0, 4.0]) == pytest.approx((1 + 3 + 2) / 3)


def test_a_gap_must_exceed_the_noise_floor_and_be_told_from_zero() -> None:
    assert scores.has_gap(baseline("exact"))
    assert scores.has_gap(baseline("approximate"))
    assert not scores.has_gap(baseline("none"))
    assert not scores.has_gap(baseline("exact", noise_floor=1.5))
    near = {"forget": 2.02, "retain": 3.0, "general": 2.5}
    assert not scores.has_gap(baseline("approximate", near))


def test_a_reference_that_knows_the_forget_set_better_leaves_nothing_to_forget() -> None:
    easier = {"forget": 1.0, "retain": 3.0, "general": 2.5}
    assert not scores.has_gap(baseline("approximate", easier))
    assert not scores.has_gap(baseline("exact", easier))
