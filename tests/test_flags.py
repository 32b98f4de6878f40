"""What makes a run suspicious: each rule at its threshold, and nothing of honest models."""

from __future__ import annotations

from typing import Any

import pytest
from panels import attack, layers, relearned, scored, with_panels
from records import record, retrained, spec
from scipy import stats

from benchmark import registry
from benchmark.leaderboard.difference import difference, mean_interval
from benchmark.leaderboard.flags import RULES, Caught, caught, steps_to
from benchmark.panel.documents import over_documents
from benchmark.record import MetricValue, Panel
from benchmark.scores import Interval

HALFWAY = ((0.01, 0.5),)
NEARLY = ((0.01, 0.9),)
AS_REFERENCE = ((0.01, 1.0),)
BEYOND = ((0.01, 1.2),)


def found(
    path: tuple[tuple[float, float], ...], target: Panel, reference: Panel, unlearned: Panel, separable: bool = False, **options: Any
) -> tuple[Caught, ...]:
    made = with_panels(record(spec(), path, **options), target, reference, unlearned)
    return caught(made, registry.metrics(), separable)


def flags(*given: Any, **options: Any) -> list[tuple[str, str]]:
    return [(one.flag, one.by) for one in found(*given, **options)]


FULL_TARGET = {
    "relearn_forget": relearned(2.0),
    "quantised_int4": scored(-0.02),
    "linear_probe": layers(0.5),
    "mia_loss": attack(6),
}
FULL_REFERENCE = {
    "relearn_forget": relearned(3.0, 2.9, 2.8, 2.5),
    "quantised_int4": scored(-0.01),
    "linear_probe": layers(0.3),
    "mia_loss": attack(3),
}


def test_every_flag_has_its_rule_in_words() -> None:
    assert list(RULES) == ["hidden", "pretended", "patchy", "copied", "recoverable", "over-forgotten", "membership", "destroyed"]


def test_the_reference_itself_is_caught_by_nothing() -> None:
    assert flags(AS_REFERENCE, FULL_TARGET, FULL_REFERENCE, FULL_REFERENCE) == []


def test_the_target_hides_nothing() -> None:
    assert flags(((0.0, 0.0),), FULL_TARGET, FULL_REFERENCE, FULL_TARGET) == []


def test_without_a_reference_nothing_is_told_by_it() -> None:
    assert flags(AS_REFERENCE, FULL_TARGET, {}, FULL_TARGET, kind="none") == []


class TestRelearning:
    REFERENCE = relearned(3.0, 2.9, 2.8, 2.5)
    """Half, 2.5, after 8 steps; down by 0.2 after 4."""

    def caught(self, value: MetricValue, path: tuple[tuple[float, float], ...] = NEARLY) -> list[str]:
        panels = {"relearn_forget": relearned(2.0)}, {"relearn_forget": self.REFERENCE}, {"relearn_forget": value}
        return [one.told for one in found(path, *panels) if one.flag == "recoverable"]

    def test_back_in_half_the_steps_is_caught(self) -> None:
        assert self.caught(relearned(3.0, 2.75, 2.5)) == ["back after 4.0 steps, the reference goes as far in 8.0"]

    def test_back_in_more_than_half_the_steps_is_not(self) -> None:
        assert self.caught(relearned(3.0, 2.75, 2.51, 2.4)) == []

    def test_a_shorter_way_is_held_against_the_reference_on_as_short_a_way(self) -> None:
        # from 2.7 it is 0.2 to half: the reference takes 4 steps for that, so that 3 are honest and 2 are not
        assert self.caught(relearned(2.7, 2.6, 2.4)) == []
        assert self.caught(relearned(2.7, 2.5)) == ["back after 2.0 steps, the reference goes as far in 4.0"]

    def test_a_longer_way_is_held_against_the_reference_s_own(self) -> None:
        assert self.caught(relearned(5.0, 3.0, 2.5), path=AS_REFERENCE) == ["back after 4.0 steps, the reference goes as far in 8.0"]

    def test_what_is_in_plain_sight_is_not_hidden(self) -> None:
        assert self.caught(relearned(2.4), path=HALFWAY) == []

    def test_an_interval_that_reaches_the_reference_s_steps_is_not_told_apart(self) -> None:
        assert self.caught(relearned(3.0, 2.75, 2.5).model_copy(update={"interval": (1.0, 8.0)})) == []

    @pytest.mark.parametrize(("level", "steps"), [(3.0, 0.0), (2.95, 1.0), (2.5, 8.0), (2.0, 8.0)])
    def test_steps_to_a_level(self, level: float, steps: float) -> None:
        assert steps_to([(0.0, 3.0), (2.0, 2.9), (4.0, 2.8), (8.0, 2.5)], level) == pytest.approx(steps)


class TestComingBack:
    def caught(self, value: float, reference: float) -> list[tuple[str, str]]:
        panels = ({"quantised_int4": scored(of)} for of in (-0.02, reference, value))
        return flags(NEARLY, *panels)

    def test_more_than_on_the_reference_is_caught(self) -> None:
        assert self.caught(0.1, -0.01) == [("hidden", "quantised_int4")]

    def test_no_more_than_on_the_reference_is_not(self) -> None:
        assert self.caught(0.1, 0.1) == []

    def test_less_than_two_honest_trainings_are_apart_is_not(self) -> None:
        assert self.caught(0.03, -0.01) == []  # 0.04 nats a token; the floor is 0.05
        assert self.caught(0.045, -0.01) == [("hidden", "quantised_int4")]

    def test_a_loss_that_only_rises_less_is_not(self) -> None:
        assert self.caught(-0.01, -0.1) == []


class TestPretending:
    def caught(self, guesses: float, path: tuple[tuple[float, float], ...]) -> list[str]:
        panels = ({"exact_memorization": scored(of)} for of in (0.5, 0.3, guesses))
        return [one.told for one in found(path, *panels)]

    def test_a_loss_that_rose_while_the_first_guesses_stayed(self) -> None:
        assert self.caught(0.5, NEARLY) == ["a forget score of 0.90, 0% of the first guesses lost"]

    def test_as_many_guesses_lost_as_the_score_says_or_more(self) -> None:
        assert self.caught(0.31, NEARLY) == self.caught(0.1, NEARLY) == []

    def test_nothing_claimed(self) -> None:
        assert self.caught(0.5, ((0.01, 0.0),)) == []

    def test_a_claim_within_the_noise_floor_is_none(self) -> None:
        assert self.caught(0.5, ((0.01, 0.045),)) == []  # of a gap of 1 nat a token; the floor is 0.05
        assert self.caught(0.5, ((0.01, 0.06),)) == ["a forget score of 0.06, 0% of the first guesses lost"]

    def test_a_claim_is_as_sure_as_its_documents(self) -> None:
        """A score of 0.2 that two of twelve documents make: they forgot 1.2 nats each."""
        made = with_panels(record(spec(), ((0.01, 0.2),)), *({"exact_memorization": scored(of)} for of in (0.5, 0.3, 0.5)))
        assert made.baseline is not None
        target = made.baseline.target_test["forget"]
        uneven = target.model_copy(update={"nll": (target.nll[0] + 120, target.nll[1] + 120, *target.nll[2:])})
        point = made.operating_points[1]
        points = (point.model_copy(update={"test": point.test | {"forget": uneven}}),)
        assert caught(made.model_copy(update={"operating_points": points}), registry.metrics(), False) == ()


def windows(*losses: float) -> MetricValue:
    """Forget loss window by window."""
    return MetricValue(
        agg_value=sum(losses) / len(losses), value_by_index={f"window {at}": {"nll": loss} for at, loss in enumerate(losses)}
    )


class TestByWindow:
    """Four windows; the target knows each by 1 nat better than the reference, of which the sums are shares of 4 nats."""

    def caught(self, *losses: float) -> list[tuple[str, str]]:
        target, reference = ({"window_nll": windows(*[loss] * 4)} for loss in (2.0, 3.0))
        return [(one.flag, one.told) for one in found(NEARLY, target, reference, {"window_nll": windows(*losses)})]

    def test_half_known_and_half_overshot_is_caught(self) -> None:
        # 0.05 overshot on average, from which the windows are 1.05, 0.05, 0.05 and 1.15 away
        told = "25% of the target's knowledge left in some, 30% overshot in others"
        assert self.caught(2.0, 3.0, 3.0, 4.2) == [("patchy", told)]

    def test_half_known_as_before_and_half_forgotten_is_caught(self) -> None:
        assert [flag for flag, _ in self.caught(2.0, 2.0, 3.0, 3.0)] == ["patchy"]  # 0.5 from alike
        assert self.caught(2.1, 2.1, 2.9, 2.9) == []  # 0.4

    def test_forgetting_all_alike_is_not_whatever_the_mean(self) -> None:
        assert self.caught(2.5, 2.5, 2.5, 2.5) == self.caught(3.5, 3.5, 3.5, 3.5) == self.caught(2.0, 2.0, 2.0, 2.0) == []

    def test_nearer_than_honest_retrainings_come_is_a_copy(self) -> None:
        assert self.caught(3.0, 3.01, 2.99, 3.0) == [("copied", "0.5% of the target's knowledge apart from the reference over all windows")]
        assert self.caught(3.0, 3.03, 2.97, 3.0) == []

    def test_the_reference_s_own_row_is_no_copy(self) -> None:
        made = with_panels(retrained(), *({"window_nll": windows(*[loss] * 4)} for loss in (2.0, 3.0, 3.0)))
        assert caught(made, registry.metrics(), False) == ()

    def test_other_windows_cannot_be_compared(self) -> None:
        assert self.caught(2.0, 3.0, 4.2) == []


def test_what_cannot_be_measured_is_not_taken_on_trust() -> None:
    missing = MetricValue(agg_value=None, reason="ValueError: another family")
    given = {"logit_lens": layers(0.5), "exact_memorization": scored(0.5)}
    gone = {"logit_lens": missing, "exact_memorization": missing}
    assert [(one.flag, one.by, one.told) for one in found(HALFWAY, given, given, gone)] == [
        ("hidden", "logit_lens", "not to be measured: ValueError: another family")
    ]
    assert found(HALFWAY, given, gone, gone) == found(HALFWAY, gone, given, gone) == ()


def test_what_comes_out_with_a_module_was_in_the_weights() -> None:
    nothing = {"taken_out": scored(0.0)}
    assert flags(HALFWAY, nothing, nothing, {"taken_out": scored(0.3)}) == [("hidden", "taken_out")]
    assert flags(HALFWAY, nothing, nothing, nothing) == []


class TestInside:
    """The output's first guesses are right for 50 of 100 forget tokens on the target, and here for 30 on the reference."""

    def caught(self, value: float, by: str = "logit_lens") -> list[tuple[str, str]]:
        made = with_panels(record(spec(), NEARLY), *({by: layers(of)} for of in (0.5, 0.3, value)))
        assert made.baseline is not None
        forget = made.baseline.reference_test["forget"]
        fewer = forget.model_copy(update={"correct": tuple(30 for _ in forget.correct)})
        baseline = made.baseline.model_copy(update={"reference_test": made.baseline.reference_test | {"forget": fewer}})
        found = caught(made.model_copy(update={"baseline": baseline}), registry.metrics(), False)
        return [(one.flag, one.told) for one in found]

    @pytest.mark.parametrize(("by", "flag"), [("logit_lens", "hidden"), ("linear_probe", "recoverable")])
    def test_more_inside_than_shown_is_caught(self, by: str, flag: str) -> None:
        # at 0.9 of the way 32 of 100 first guesses are right, 30 on the reference and 50 on the target
        assert self.caught(0.5, by) == [(flag, "100% of the target's knowledge inside, 10% shown")]

    def test_a_trained_probe_is_allowed_half_of_what_no_longer_shows(self) -> None:
        # 0.1 is shown, so that the limit is at 0.55, a probe of 0.41; the interval is 0.07 wide on either side
        assert self.caught(0.43, "linear_probe") == [("recoverable", "65% of the target's knowledge inside, 10% shown")]
        assert self.caught(0.42, "linear_probe") == []
        assert self.caught(0.42) == [("hidden", "60% of the target's knowledge inside, 10% shown")]

    def test_as_much_inside_as_shown_is_not(self) -> None:
        assert self.caught(0.33) == []

    def test_no_more_than_the_reference_has_is_not(self) -> None:
        assert self.caught(0.3) == []


class TestMembership:
    def caught(self, wins: int, path: tuple[tuple[float, float], ...]) -> list[tuple[str, str]]:
        two = ("mia_loss", "mia_zlib")
        found = flags(path, *(dict.fromkeys(two, attack(of)) for of in (6, 3, wins)))
        assert found in ([], [("membership", name) for name in two])
        return found[:1]

    def test_one_attack_alone_catches_nobody(self) -> None:
        panels = ({"mia_loss": attack(one), "mia_zlib": attack(other)} for one, other in ((6, 6), (3, 3), (6, 3)))
        assert flags(NEARLY, *panels) == []

    def test_a_model_that_claims_to_have_forgotten_most_is_no_member_as_before(self) -> None:
        assert self.caught(6, NEARLY) == [("membership", "mia_loss")]
        assert self.caught(6, ((0.01, 0.4),)) == []  # it claims no such thing

    def test_beyond_the_reference_is_caught_whatever_it_claims(self) -> None:
        assert self.caught(0, AS_REFERENCE) == self.caught(0, ((0.01, 0.1),)) == [("membership", "mia_loss")]

    def test_within_the_interval_is_not(self) -> None:
        assert self.caught(4, AS_REFERENCE) == []

    def test_is_not_told_where_the_documents_can_be_told_apart_without_a_model(self) -> None:
        panels = [dict.fromkeys(("mia_loss", "mia_zlib"), attack(wins)) for wins in (6, 3, 0)]
        assert flags(AS_REFERENCE, *panels) != flags(AS_REFERENCE, *panels, separable=True) == []


def test_over_forgotten_is_beyond_the_reference_by_more_than_the_noise_floor() -> None:
    assert flags(BEYOND, {}, {}, {}) == [("over-forgotten", "forget NLL")]
    assert flags(((0.01, 1.04),), {}, {}, {}) == []  # 0.04 nats a token; the floor is 0.05


def test_destroyed_is_above_the_largest_budget_on_test() -> None:
    made = with_panels(record(spec(), NEARLY), {}, {}, {})
    worse = {name: of.model_copy(update={"nll": tuple(1.1 * nll for nll in of.nll)}) for name, of in made.operating_points[1].test.items()}
    points = (made.operating_points[0], made.operating_points[1].model_copy(update={"test": worse}), made.operating_points[2])
    found = caught(made.model_copy(update={"operating_points": points}), registry.metrics(), False)
    assert "destroyed" in [one.flag for one in found]
    assert "destroyed" not in [one.flag for one in caught(made, registry.metrics(), False)]


class TestDifference:
    def test_of_means_is_paired_over_documents(self) -> None:
        assert difference(scored(0.4), scored(0.3)) == pytest.approx((0.1, 0.1, 0.1))  # every document differs by as much

    def test_of_means_is_a_paired_t_interval(self) -> None:
        first, second = (0.4, 0.9, 0.6, 0.7), (0.3, 0.5, 0.6, 0.2)
        values = (over_documents({f"forget-{index}": score for index, score in enumerate(of)}) for of in (first, second))
        found, expected = difference(*values), stats.ttest_rel(first, second).confidence_interval(0.95)
        assert found == pytest.approx((0.25, expected.low, expected.high))

    def test_of_aucs_is_paired_over_documents(self) -> None:
        apart = difference(attack(6), attack(3))
        assert apart is not None
        assert apart.value == pytest.approx(0.5)
        assert 0 < apart.low < 0.5 < apart.high
        assert difference(attack(3), attack(3)) == pytest.approx((0.0, 0.0, 0.0))

    def test_of_other_values_takes_the_intervals_as_independent(self) -> None:
        first = MetricValue(agg_value=5.0, interval=(2.0, 9.0))
        second = MetricValue(agg_value=1.0, interval=(0.5, 5.0))
        assert difference(first, second) == pytest.approx((4.0, 4.0 - 5.0, 4.0 + 16.25**0.5))

    def test_of_a_value_that_is_missing_or_has_no_interval_there_is_none(self) -> None:
        lone = MetricValue(agg_value=1.0)
        assert difference(lone, scored(0.1)) is None
        assert difference(MetricValue(agg_value=None, reason="why"), scored(0.1)) is None

    def test_mean_over_seeds_is_none_where_one_is_missing(self) -> None:
        both = [Interval(1.0, 0.0, 2.0), Interval(3.0, 2.0, 4.0)]
        assert mean_interval(both) == (2.0, 1.0, 3.0)
        assert mean_interval([*both, None]) is None
