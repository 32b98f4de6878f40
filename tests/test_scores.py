"""Scores against cases worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import baseline, documents

from benchmark import scores
from benchmark.record import Documents
from benchmark.scores import Interval, SeedCell

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


def drawn(nll: Iterable[float]) -> Documents:
    """A document of 100 tokens for each mean NLL."""
    values = [100 * float(value) for value in nll]
    count = len(values)
    return Documents(ids=tuple(map(str, range(count))), nll=tuple(values), correct=(50,) * count, tokens=(100,) * count)


def around(nll: float, seed: int) -> Documents:
    """Forty documents around a mean NLL."""
    return drawn(np.random.default_rng(seed).normal(nll, 0.4, 40))


def test_interval_of_the_target_and_of_the_reference_is_a_point() -> None:
    target, reference = documents("forget", 2.0), documents("forget", 3.0)
    assert scores.score_interval(target, target, reference) == Interval(0, 0, 0)
    assert scores.score_interval(reference, target, reference) == Interval(1, 1, 1)


def test_interval_holds_the_value_and_is_the_same_every_time() -> None:
    cell = (around(2.5, 1), around(2.0, 2), around(3.0, 3))
    interval = scores.score_interval(*cell)
    assert interval.low < interval.value < interval.high
    assert interval == scores.score_interval(*cell)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        base = rng.normal(2.0, 0.3, 50)
        forgetting, gap = rng.normal(0.5, 0.2, 50), rng.normal(1.0, 0.2, 50)
        target, reference, unlearned = (drawn(values) for values in (base, base + gap, base + forgetting))
        interval = scores.score_interval(unlearned, target, reference)
        covered += interval.low <= 0.5 <= interval.high
    assert 51 <= covered <= 60  # 57 expected


def test_documents_count_by_their_tokens() -> None:
    long_and_short = Documents(ids=("a", "b"), nll=(300.0, 10.0), correct=(10, 10), tokens=(100, 10))
    assert long_and_short.mean_nll == pytest.approx(310 / 110)
    assert long_and_short.top1 == pytest.approx(20 / 110)


def seed_cell(unlearned: float, target_seed: int = 0, seed: int = 0) -> SeedCell:
    return SeedCell(target_seed, seed, documents("forget", unlearned), documents("forget", 2.0), documents("forget", 3.0))


def test_several_seeds_are_averaged_and_widen_the_interval_when_they_disagree() -> None:
    one = seed_cell(2.5)
    same = scores.seeds_interval([one, one, one])
    wide = scores.seeds_interval([seed_cell(nll, seed=seed) for seed, nll in enumerate((2.2, 2.5, 2.8))])
    assert same.value == pytest.approx(0.5)
    assert same == pytest.approx(scores.score_interval(one.unlearned, one.target, one.reference))
    assert wide.value == pytest.approx(0.5)
    assert wide.high - wide.low > same.high - same.low


def test_a_target_seed_is_drawn_before_its_method_seeds() -> None:
    """Without spread over documents there are 64 equally likely draws: in 1 all four scores drawn are 0, in 4 one of them is 0.2."""
    target, reference = alike(2.0), alike(3.0)
    by_target = {0: (0.0, 0.2), 1: (0.8, 1.0)}
    cells = [SeedCell(t, seed, alike(2.0 + score), target, reference) for t, pair in by_target.items() for seed, score in enumerate(pair)]
    assert scores.seeds_interval(cells) == pytest.approx((0.5, 0.05, 0.95))  # drawing from the four at once would give 0.1 and 0.9


def alike(nll: float) -> Documents:
    """Three documents of the same mean loss."""
    return Documents(ids=("a", "b", "c"), nll=(10 * nll,) * 3, correct=(5,) * 3, tokens=(10,) * 3)


@pytest.mark.parametrize("seeds", [(1,), (3,), (2, 2), (1, 3)], ids=str)
def test_the_nested_interval_is_what_loops_over_its_draws_give(seeds: tuple[int, ...]) -> None:
    losses = iter((2.1, 2.4, 2.9, 3.2))
    cells = [seed_cell(next(losses), target_seed, seed) for target_seed, count in enumerate(seeds) for seed in range(count)]
    count = len(cells[0].target.ids)
    rows = np.random.default_rng(0).integers(count, size=(scores.RESAMPLES, count))
    scored = [[loop_score(cell, drawn) for drawn in rows.tolist()] for cell in cells]
    rng = np.random.default_rng(1)
    seeds_drawn = [[rng.integers(of, size=(of, scores.RESAMPLES)) for of in seeds] for _ in seeds]
    targets_drawn = rng.integers(len(seeds), size=(len(seeds), 1, scores.RESAMPLES))
    means = []
    for resample in range(scores.RESAMPLES):
        within = []
        for slot in range(len(seeds)):
            target_seed = int(targets_drawn[slot, 0, resample])
            first = sum(seeds[:target_seed])
            drawn = [scored[first + int(seed)][resample] for seed in seeds_drawn[slot][target_seed][:, resample]]
            within.append(math.fsum(drawn) / len(drawn))
        means.append(math.fsum(within) / len(within))
    of_target = [[cell.score for cell in cells if cell.target_seed == target_seed] for target_seed in range(len(seeds))]
    value = math.fsum(math.fsum(found) / len(found) for found in of_target) / len(seeds)
    low, high = np.quantile(means, [0.025, 0.975])
    assert scores.seeds_interval(cells) == pytest.approx((value, low, high), abs=1e-12)


def loop_score(cell: SeedCell, drawn: list[int]) -> float:
    """Forget score over documents drawn with repetition."""
    q, q0, q_star = (
        math.fsum(documents.nll[row] for row in drawn) / sum(documents.tokens[row] for row in drawn)
        for documents in (cell.unlearned, cell.target, cell.reference)
    )
    return 1 - abs(q - q_star) / abs(q0 - q_star)


def test_mean_of_intervals_adds_half_widths_in_quadrature() -> None:
    mean = scores.mean_interval([Interval(0.2, 0.1, 0.3), Interval(0.4, 0.2, 0.6)])
    assert mean == pytest.approx((0.3, 0.3 - math.hypot(0.1, 0.2) / 2, 0.3 + math.hypot(0.1, 0.2) / 2))
    assert scores.mean_interval([Interval(0.2, 0.1, 0.3)]) == pytest.approx((0.2, 0.1, 0.3))


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
