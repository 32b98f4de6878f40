"""Telling methods apart: against scipy's tests where the score is a plain mean, against loops elsewhere, and by simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from records import baseline
from scipy import stats
from seed_cells import plain, simulated, texts

from benchmark.comparison import Comparison, compare, holm, ranks, score_floor
from benchmark.record import Documents
from benchmark.scores import SeedCell, forget_score


def only(first: Sequence[Sequence[SeedCell]], second: Sequence[Sequence[SeedCell]], floor: float = 0.0) -> Comparison:
    (comparison,) = compare({"a": first, "b": second}, floor)
    return comparison


ONE = np.array([0.31, 0.25, 0.40, 0.12, 0.36, 0.28])
OTHER = np.array([0.20, 0.22, 0.31, 0.14, 0.25, 0.19])


def test_one_task_is_a_paired_t_test() -> None:
    found = only([[plain(ONE)]], [[plain(OTHER)]])
    expected = stats.ttest_rel(ONE, OTHER)
    assert found.difference == pytest.approx(ONE.mean() - OTHER.mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert found.standard_error == pytest.approx(found.difference / expected.statistic)


def test_two_tasks_are_welchs_test() -> None:
    more, less = np.array([0.9, 0.7, 0.8, 0.4]), np.array([0.5, 0.5, 0.3, 0.4])
    found = only([[plain(ONE)], [plain(more)]], [[plain(OTHER)], [plain(less)]])
    expected = stats.ttest_ind(ONE - OTHER, less - more, equal_var=False)  # the mean of two is half the difference to minus the other
    assert found.p == pytest.approx(expected.pvalue)
    assert found.difference == pytest.approx(((ONE - OTHER).mean() + (more - less).mean()) / 2)


def test_target_seeds_are_paired_and_documents_do_not_stand_in_for_them() -> None:
    ours, theirs = np.array([0.5, 0.7, 0.6]), np.array([0.4, 0.5, 0.55])
    of = [[plain([score] * 4, target_seed=seed) for seed, score in enumerate(scores)] for scores in (ours, theirs)]
    assert only([of[0]], [of[1]]).p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)


def test_method_seeds_of_one_target_are_two_samples() -> None:
    ours, theirs = [0.5, 0.7, 0.6], [0.4, 0.5, 0.55, 0.3]
    of = [[plain([score] * 4, seed=seed) for seed, score in enumerate(scores)] for scores in (ours, theirs)]
    assert only([of[0]], [of[1]]).p == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False).pvalue)


def test_only_the_target_seeds_of_both_are_compared() -> None:
    both = [plain(ONE, target_seed=0), plain([5.0] * 6, target_seed=1)]
    assert only([both], [[plain(OTHER)]]).p == pytest.approx(stats.ttest_rel(ONE, OTHER).pvalue)
    with pytest.raises(ValueError, match="no target seed in common"):
        only([[plain(ONE, target_seed=1)]], [[plain(OTHER)]])


def random_cell(rng: np.random.Generator, count: int, forgetting: float, paired: bool, target: Documents) -> SeedCell:
    before = np.asarray(target.nll) / np.asarray(target.tokens)
    after = texts(before + rng.normal(forgetting, 0.2, count), target.tokens)
    reference = texts(before + rng.normal(1.0, 0.1, count), target.tokens) if paired else texts(rng.normal(3.0, 0.3, 9), name="h")
    return SeedCell(0, 0, after, target, reference)


def left_out(documents: Documents, index: int) -> Documents:
    keep = [place for place in range(len(documents.ids)) if place != index]
    return Documents(**{name: tuple(values[place] for place in keep) for name, values in documents.model_dump().items()})


@pytest.mark.parametrize("paired", [True, False], ids=["exact", "approximate"])
def test_the_standard_error_is_the_jackknifes(paired: bool) -> None:
    """Documents of different lengths: against leave-one-out loops."""
    rng = np.random.default_rng(3)
    target = texts(rng.normal(2, 0.3, 7), [int(count) for count in rng.integers(50, 400, 7)])
    first = random_cell(rng, 7, 0.5, paired, target)
    second = SeedCell(0, 0, random_cell(rng, 7, 0.4, paired, target).unlearned, target, first.reference)

    def score(cell: SeedCell, document: int | None, held: int | None) -> float:
        parts = [part if document is None else left_out(part, document) for part in (cell.unlearned, cell.target)]
        reference = cell.reference if held is None else left_out(cell.reference, held)
        return forget_score(parts[0].mean_nll, parts[1].mean_nll, reference.mean_nll)

    dropped = [(index, index if paired else None) for index in range(7)]
    variance = 0.0
    for drops in (dropped, [] if paired else [(None, index) for index in range(9)]):
        without = [score(first, *drop) - score(second, *drop) for drop in drops]
        middle = math.fsum(without) / len(without) if without else 0.0
        variance += math.fsum((each - middle) ** 2 for each in without) * (len(without) - 1) / len(without) if without else 0.0
    found = only([[first]], [[second]])
    assert found.difference == pytest.approx(score(first, None, None) - score(second, None, None), rel=1e-12)
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-12)


def test_with_many_documents_it_is_the_paired_bootstraps() -> None:
    rng = np.random.default_rng(5)
    target = texts(rng.normal(2, 0.3, 150), [int(count) for count in rng.integers(50, 400, 150)])
    first = random_cell(rng, 150, 0.5, True, target)
    second = SeedCell(0, 0, random_cell(rng, 150, 0.4, True, target).unlearned, target, first.reference)
    rows = rng.integers(150, size=(4000, 150))

    def drawn(documents: Documents) -> NDArray[np.float64]:
        return np.asarray(np.asarray(documents.nll)[rows].sum(1) / np.asarray(documents.tokens)[rows].sum(1))

    q0, q_star = drawn(target), drawn(first.reference)
    scores = [1 - abs(drawn(cell.unlearned) - q_star) / abs(q0 - q_star) for cell in (first, second)]
    assert only([[first]], [[second]]).standard_error == pytest.approx((scores[0] - scores[1]).std(), rel=0.05)


def test_methods_that_did_the_same_are_not_told_apart_and_certain_differences_are() -> None:
    same = only([[plain(ONE)]], [[plain(ONE)]])
    assert (same.difference, same.standard_error, same.p, same.told_apart) == (0.0, 0.0, 1.0, False)
    certain = only([[plain([0.5] * 6)]], [[plain([0.25] * 6)]])
    assert (certain.p, certain.told_apart, certain.better()) == (0.0, True, ("a", "b"))


def test_one_document_tells_nothing_apart() -> None:
    found = only([[plain(ONE)], [plain([0.9])]], [[plain(OTHER)], [plain([0.1])]])
    assert (found.standard_error, found.p, found.told_apart) == (None, 1.0, False)
    assert found.difference == pytest.approx((ONE.mean() - OTHER.mean() + 0.8) / 2)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def verdict(first: str, second: str, difference: float, p: float = 0.0, floor: float = 0.0) -> Comparison:
    return Comparison(first, second, difference, 0.1, p, p, floor)


def test_a_rank_is_one_more_than_there_are_better_ones_and_is_shared() -> None:
    """The first is better than the last, and the one between can be told from neither: 'not different' is not transitive."""
    found = ranks(["a", "b", "c"], [verdict("a", "b", 0.1, p=0.2), verdict("a", "c", 0.2), verdict("b", "c", 0.1, p=0.2)])
    assert {name: (rank.best, rank.worst) for name, rank in found.items()} == {"a": (1, 2), "b": (1, 3), "c": (2, 3)}


def test_the_sign_says_which_is_better() -> None:
    found = ranks(["a", "b"], [verdict("a", "b", -0.1)])
    assert {name: (rank.best, rank.worst) for name, rank in found.items()} == {"a": (2, 2), "b": (1, 1)}


def test_a_difference_within_the_noise_floor_is_none_however_certain() -> None:
    assert verdict("a", "b", 0.1, floor=0.09).told_apart
    assert not verdict("a", "b", 0.1, floor=0.1).told_apart
    assert not verdict("a", "b", -0.1, floor=0.11).told_apart


def test_the_noise_floor_as_a_score_is_its_share_of_the_gap_averaged_over_tasks() -> None:
    wide = baseline(reference={"forget": 4.0, "retain": 3.0, "general": 2.5}, noise_floor=0.1)
    assert score_floor([baseline(noise_floor=0.05)]) == pytest.approx(0.05)
    assert score_floor([baseline(noise_floor=0.05), wide]) == pytest.approx((0.05 / 1 + 0.1 / 2) / 2)
    assert score_floor([baseline(noise_floor=0.05), baseline("approximate")]) == pytest.approx(0.025)
    assert score_floor([]) == 0


def test_equally_good_methods_are_told_apart_no_more_often_than_said() -> None:
    rng = np.random.default_rng(11)
    p = [only(simulated(rng, 0.3), simulated(rng, 0.3)).p for _ in range(400)]
    assert 0.015 < np.mean(np.array(p) <= 0.05) < 0.07  # 0.033 over many more; the nested bootstrap has 0.08
    assert np.mean(np.array(p) <= 0.01) <= 0.02


def test_the_ranks_hold_for_all_methods_at_once() -> None:
    means = {"a": 0.5, "b": 0.46, "c": 0.3, "d": 0.3, "e": 0.29, "f": 0.1}
    rng = np.random.default_rng(12)
    held = told = 0
    for _ in range(100):
        found = ranks(means, compare({name: simulated(rng, mean) for name, mean in means.items()}, 0.0))
        held += all(
            found[name].best <= 1 + sum(other > mean for other in means.values())
            and found[name].worst >= len(means) - sum(other < mean for other in means.values())
            for name, mean in means.items()
        )
        told += found["f"].best == 6
    assert held >= 93
    assert told >= 90
