"""What is suspicious of a run, by exact rules: pure functions of its record.

A rule needs the reference's own value: where there is none, it catches nothing. What the target shows in plain sight is not
hidden, so that a method that forgot half is not caught for the other half.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, NamedTuple

from benchmark import scores
from benchmark.chance import estimate
from benchmark.comparison import score_floor
from benchmark.leaderboard.difference import difference, told_from_zero
from benchmark.leaderboard.windows import apart
from benchmark.panel.metric import Metric
from benchmark.record import Baseline, MetricValue, OperatingPoint, Panel, Record
from benchmark.registry import RESERVED
from benchmark.scores import Interval, SeedCell

Flag = Literal["hidden", "pretended", "patchy", "copied", "recoverable", "over-forgotten", "membership", "destroyed"]

DISQUALIFYING: frozenset[Flag] = frozenset({"hidden", "pretended", "patchy", "copied"})
"""What takes away a score: the forget set is still in the model, or no method took it out."""

CLAIM = 0.5
"""Forget score from which a model is taken at its word that most is forgotten."""

GUESSES = "exact_memorization"
"""The metric of first guesses."""

LEFT = 0.5
"""Share of what its first guesses no longer show that a trained probe must find for a model to be caught. Weights midway between the
target's and the reference's hide nothing, and yet a probe finds up to 0.4 of it: what can be trained back fades later than what is said."""

ATTACKS = 2
"""Membership attacks that must agree for a model to be caught by them."""

FASTER = 0.5
"""Share of the reference's steps within which a relearning model must be back to be caught."""

WINDOWS = "window_nll"
"""The metric of single windows."""

UNEVEN = 0.4
"""How far single windows may lie from forgetting alike, as a share of the target's knowledge: honest retrainings and the methods of the
shipped lab have up to 0.25, a model that knows every other window as before has 0.5 and more."""

COPY = 0.01
"""How near a model may come to the reference over all windows: a third of what the two nearest of honest retrainings are apart."""

RULES: Mapping[Flag, str] = {
    "hidden": "more of the forget set is still in the model than its output shows: quantisation, pruning or noise lower its forget loss, by"
    " more than the reference's, both beyond their intervals and the difference beyond the noise floor; so does taking out the modules that"
    " a method put in; or a lens finds a share of the target's knowledge inside that is larger, beyond the interval, than the share that"
    " its own first guesses show; or what looks for it cannot be measured on this model, but on target and reference",
    "pretended": "its first guesses give it away: of the lead that the target's have over the reference's, it has lost a smaller share"
    " than its forget score says, their intervals apart, and that score is beyond the noise floor",
    "patchy": "the mean hides it: some windows are known as before while others are forgotten or overshot; from forgetting all alike they"
    f" are apart by more than {UNEVEN:.0%} of the target's knowledge",
    "copied": f"window by window it is the reference itself, to within {COPY:.0%} of what the target knows: it was not made without it",
    "recoverable": "little training brings it back: half of what it forgot within half of the steps that the reference takes for the same"
    " way, its interval below all of them; or a probe that is trained on such text finds inside, beyond the interval, more than half of"
    " that share of the target's knowledge that its own first guesses no longer show",
    "over-forgotten": "the forget loss lies above the reference's, beyond the interval, and by more than the lab's noise floor where there"
    " is one",
    "membership": f"at least {ATTACKS} membership attacks give it away: its forget score is above {CLAIM:g}, with its interval, and yet an"
    " attack does no worse on it than on the target; or the attack lies on the other side of the reference: always beyond the interval of"
    " the difference to the reference, and not where the documents can be told apart without any model",
    "destroyed": "its utility damage on test is above the largest budget",
}
"""What each flag says, in the words of the legend."""


class Caught(NamedTuple):
    """One reason for a flag."""

    flag: Flag
    by: str
    """The metric, or the measured quantity."""
    told: str
    """The numbers."""


def caught(record: Record, cards: Mapping[str, Metric], separable: bool) -> tuple[Caught, ...]:
    """What is suspicious at the headline operating point of a record that is ok.

    Args:
        record: of one run.
        cards: of the metrics, by name; others are not looked at.
        separable: whether forget and holdout documents can be told apart without a model.
    """
    baseline, point = record.baseline, record.operating_points[len(record.operating_points) // 2]
    assert baseline is not None  # of a record that is ok
    panel = {name: value for name, value in (point.panel or {}).items() if name in cards and name in baseline.reference_panel}
    claim = _claim(baseline, point)
    found = [
        *(of for name, value in panel.items() if cards[name].axis == "robustness" for of in _hidden(cards[name], value, baseline, point)),
        *_not_to_be_seen(panel, baseline, cards),
        *_pretended(panel, baseline, claim),
        *(_by_window(panel, baseline) if record.spec.method not in RESERVED else []),
        *_over_forgotten(baseline, point),
        *([] if separable else _memberships({name: of for name, of in panel.items() if cards[name].axis == "privacy"}, baseline, claim)),
        *_destroyed(record, baseline, point),
    ]
    return tuple(found)


def _not_to_be_seen(panel: Panel, baseline: Baseline, cards: Mapping[str, Metric]) -> list[Caught]:
    """What can be measured on target and reference, and not on what became of the target."""
    return [
        Caught("hidden", name, f"not to be measured: {value.reason}")
        for name, value in panel.items()
        if cards[name].axis == "robustness" and value.agg_value is None
        if all(name in of and of[name].agg_value is not None for of in (baseline.target_panel, baseline.reference_panel))
    ]


def _by_window(panel: Panel, baseline: Baseline) -> list[Caught]:
    value, target, reference = (of.get(WINDOWS) for of in (panel, baseline.target_panel, baseline.reference_panel))
    found = None if value is None or target is None or reference is None else apart(value, target, reference)
    if found is None:
        return []
    if found.uneven > UNEVEN:
        told = f"{found.known:.0%} of the target's knowledge left in some, {found.overshot:.0%} overshot in others"
        return [Caught("patchy", WINDOWS, told)]
    if found.known + found.overshot < COPY:
        told = f"{found.known + found.overshot:.1%} of the target's knowledge apart from the reference over all windows"
        return [Caught("copied", WINDOWS, told)]
    return []


def _hidden(card: Metric, value: MetricValue, baseline: Baseline, point: OperatingPoint) -> list[Caught]:
    reference = baseline.reference_panel[card.name]
    if card.knows == "lower":
        return _relearned(card.name, value, reference)
    if card.knows == "neither":
        return _came_back(card.name, value, reference, baseline.noise_floor or 0.0)
    return _still_inside(card, value, baseline, point)


def _relearned(name: str, value: MetricValue, reference: MetricValue) -> list[Caught]:
    """By training a little: `value_by_index` has the forget loss after each measured step, and the level `half`."""
    curves = [_curve(one) for one in (value, reference)]
    if value.agg_value is None or value.interval is None or not all(curves):
        return []
    half = value.value_by_index["half"]["nll"]
    start, honest = curves[0][0][1], curves[1][0][1]
    if start <= half:  # in plain sight
        return []
    way = min(start, honest) - half
    due = steps_to(curves[1], honest - way)
    if value.agg_value > FASTER * due or value.interval[1] >= due:
        return []
    return [Caught("recoverable", name, f"back after {value.agg_value:.1f} steps, the reference goes as far in {due:.1f}")]


def _curve(value: MetricValue) -> list[tuple[float, float]]:
    """Steps and forget loss after them, in their order; none without a level to fall to."""
    steps = [(float(name.split()[1]), of["nll"]) for name, of in value.value_by_index.items() if name.startswith("step ")]
    return sorted(steps) if "half" in value.value_by_index else []


def steps_to(curve: list[tuple[float, float]], level: float) -> float:
    """Steps after which a loss is first at a level or below, straight lines between those measured; the last of them if it never is.

    Args:
        curve: steps, from 0 on, and the loss after each.
        level: at most the first loss.
    """
    for (before, above), (after, loss) in pairwise(curve):
        if loss <= level:
            return before + (after - before) * (above - level) / (above - loss) if above > loss else after
    return curve[-1][0]


def _came_back(name: str, value: MetricValue, reference: MetricValue, floor: float) -> list[Caught]:
    """By a change of the weights that no one trained for: how much the forget loss falls, nats a token."""
    more = difference(value, reference)
    if more is None or value.interval is None or value.interval[0] <= 0 or more.low <= 0 or more.value <= floor:
        return []
    return [Caught("hidden", name, f"{value.agg_value:.3f} nats come back, {reference.agg_value:.3f} on the reference")]


def _still_inside(card: Metric, value: MetricValue, baseline: Baseline, point: OperatingPoint) -> list[Caught]:
    """By what can be read off inside, in shares of the target's knowledge: 0 as on the reference, 1 as on the target."""
    reference, target = baseline.reference_panel[card.name], baseline.target_panel.get(card.name)
    more = difference(value, reference)
    gap = None if target is None else difference(target, reference)
    shown = [of["forget"].top1 for of in (point.test, baseline.target_test, baseline.reference_test)]
    if more is None or gap is None or gap.low <= 0 or shown[1] <= shown[2]:
        return []
    inside, outside = more.low / gap.value, max(0.0, (shown[0] - shown[2]) / (shown[1] - shown[2]))
    allowed = outside + LEFT * (1 - outside) if card.trains else outside
    if more.low <= 0 or inside <= allowed:
        return []
    flag: Flag = "recoverable" if card.trains else "hidden"
    return [Caught(flag, card.name, f"{more.value / gap.value:.0%} of the target's knowledge inside, {outside:.0%} shown")]


def _over_forgotten(baseline: Baseline, point: OperatingPoint) -> list[Caught]:
    if "forget" not in baseline.reference_test:
        return []
    beyond = scores.gap_interval(baseline.reference_test["forget"], point.test["forget"])
    if beyond.low <= 0 or beyond.value <= (baseline.noise_floor or 0.0):
        return []
    return [Caught("over-forgotten", "forget NLL", f"{beyond.value:.3f} nats a token above the reference's")]


def _claim(baseline: Baseline, point: OperatingPoint) -> Interval | None:
    """The forget score on test; None where target and reference cannot be told apart."""
    if not scores.has_gap(baseline):
        return None
    return estimate([[SeedCell(0, 0, point.test["forget"], baseline.target_test["forget"], baseline.reference_test["forget"])]])


def _pretended(panel: Panel, baseline: Baseline, claim: Interval | None) -> list[Caught]:
    target, reference, value = (of.get(GUESSES) for of in (baseline.target_panel, baseline.reference_panel, panel))
    if claim is None or target is None or reference is None or value is None or claim.value <= score_floor([baseline]):
        return []
    gap, lost = difference(target, reference), difference(target, value)
    if gap is None or lost is None or gap.low <= 0 or claim.low <= lost.high / gap.value:
        return []
    return [Caught("pretended", GUESSES, f"a forget score of {claim.value:.2f}, {lost.value / gap.value:.0%} of the first guesses lost")]


def _memberships(attacks: Panel, baseline: Baseline, claim: Interval | None) -> list[Caught]:
    """What the attacks say where several agree: of seven on a handful of documents, one is wrong about an honest model too often."""
    found = [of for name, value in attacks.items() for of in _membership(name, value, baseline, claim)]
    return found if len(found) >= ATTACKS else []


def _membership(name: str, value: MetricValue, baseline: Baseline, claim: Interval | None) -> list[Caught]:
    reference, target = baseline.reference_panel[name], baseline.target_panel.get(name)
    apart = difference(value, reference)
    gap, fallen = (None, None) if target is None else (difference(target, reference), difference(target, value))
    if apart is None or gap is None or fallen is None or not told_from_zero((apart.low, apart.high)):
        return []
    beyond = gap.value * apart.value < 0
    unchanged = claim is not None and claim.low > CLAIM and fallen.low <= 0 <= fallen.high
    if not (beyond or unchanged):
        return []
    return [Caught("membership", name, f"{value.agg_value:.2f}, {reference.agg_value:.2f} on the reference")]


def _destroyed(record: Record, baseline: Baseline, point: OperatingPoint) -> list[Caught]:
    damage = scores.utility_damage(*(scores.means(of) for of in (point.test, baseline.target_test, baseline.reference_test)))
    largest = max(record.spec.protocol.budgets)
    if damage <= largest:
        return []
    return [Caught("destroyed", "utility damage", f"{damage:.1%} on test")]
