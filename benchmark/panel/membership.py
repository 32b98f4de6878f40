"""How well an attack tells members, documents that a model was trained on, from others: pure functions of attack scores.

Everywhere, the lower a score the more the attack takes its example for a member, as it is with a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.record import MetricValue
from benchmark.scores import CONFIDENCE, RESAMPLES, Interval

CHANCE = 0.5
"""The AUC of an attack that tells nothing."""

FALSE_POSITIVES = 0.05
"""Share of the others that an attack may take for members."""

FEWEST = round(1 / FALSE_POSITIVES)
"""Others of which that share is one whole example."""

SHUFFLES = 999
"""Of the labels, for what an attack without a model finds by chance."""

Z = 1.959964
"""Standard normal quantile of `CONFIDENCE`."""


def membership_auc(members: Sequence[float], others: Sequence[float]) -> Interval:
    """The chance that a member's score is below another's, ties counted half, with its interval.

    0.5: the attack tells nothing. Below 0.5 the members are the ones that look unknown; it is never turned over, which would
    report too much forgetting as a leak.
    """
    value = float(_wins(np.asarray(members), np.asarray(others)).mean())
    return Interval(value, *auc_interval(value, len(members), len(others)))


def auc_interval(value: float, members: int, others: int) -> tuple[float, float]:
    """The ends of an AUC's interval by Newcombe 2006 (Statistics in Medicine 25:559), method 5.

    A score interval with Hanley & McNeil's variance. Unlike a bootstrap over a handful of documents, or DeLong's variance, it does not
    collapse where all members lie on one side: of 6 and 6 documents with an AUC of 1 it is [0.69, 1].
    """
    star = (members + others) / 2 - 1

    def inside(auc: float) -> bool:
        variance = auc * (1 - auc) / (members * others) * (1 + star * (1 - auc) / (2 - auc) + star * auc / (1 + auc))
        return (value - auc) ** 2 <= Z**2 * variance

    def end(outside: float, within: float) -> float:
        for _ in range(60):
            middle = (outside + within) / 2
            outside, within = (outside, middle) if inside(middle) else (middle, within)
        return within

    return end(0.0, value) if value > 0 else 0.0, end(1.0, value) if value < 1 else 1.0


def true_positive_rate(members: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> Interval:
    """Share of members found by an attack that takes at most `FALSE_POSITIVES` of the others for members.

    Found are the members that score strictly below the lowest score that would take in one of the others too many. Of fewer than
    `FEWEST` others not one may be taken in.

    Args:
        members: scores of the examples of each document; the bootstrap draws whole documents.
        others: likewise.
    """
    inside, outside = ([np.asarray(scores) for scores in documents] for documents in (members, others))
    rng = np.random.default_rng(0)

    def drawn(documents: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate([documents[index] for index in rng.integers(len(documents), size=len(documents))])

    rates = np.array([_share_found(drawn(inside), drawn(outside)) for _ in range(RESAMPLES)])
    return _interval(_share_found(np.concatenate(inside), np.concatenate(outside)), rates)


def auc_closeness(unlearned: float, reference: float) -> float:
    """1 - |AUC - AUC*| / max(AUC*, 1 - AUC*): how close an attack's AUC is to the one it has on the reference model, in [0, 1].

    1: the attack tells no more and no less than of a model that never saw the text. 0: as far from that as an AUC can be. Members
    that stand out as unknown cost what members that stand out as known cost.

    MUSE's PrivLeak (Shi et al. 2024, arXiv:2407.06460, section 3) divides the same difference by 1 - AUC*, which the
    reference's own documents can make as small as they like: it has no bounds, and means another thing on other documents.
    """
    return 1 - abs(unlearned - reference) / max(reference, 1 - reference)


def by_chance(value: float, attack: Callable[[NDArray[np.bool_]], float], member: NDArray[np.bool_]) -> tuple[float, float]:
    """An interval around an AUC, as wide as the same attack's AUCs scatter where the labels are shuffled.

    It contains 0.5 exactly where `CONFIDENCE` of `SHUFFLES` shuffles are on either side no further out: a permutation test. What an
    attack that learns from the few documents finds by chance is more than a bootstrap over them says.

    Args:
        value: the attack's AUC with the true labels.
        attack: its AUC with given ones, (n,) True at members.
        member: the true ones.
    """
    rng = np.random.default_rng(0)
    low, high = _percentiles(np.array([attack(rng.permutation(member)) for _ in range(SHUFFLES)]))
    return max(0.0, value - max(0.0, high - CHANCE)), min(1.0, value + max(0.0, CHANCE - low))


def separable(value: MetricValue) -> bool:
    """Whether an attack tells the sets apart: its interval leaves out 0.5, on whichever side."""
    return value.interval is not None and not value.interval[0] <= CHANCE <= value.interval[1]


def auc(scores: NDArray[np.float64], member: NDArray[np.bool_]) -> float:
    """The AUC alone, of scores (n,) and labels (n,)."""
    return float(_wins(scores[member], scores[~member]).mean())


def _wins(members: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((members[:, None] < others) + 0.5 * (members[:, None] == others))


def _share_found(members: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    allowed = int(FALSE_POSITIVES * len(others) + 1e-9)  # 0.05 * 20 is a little less than 1
    return float((members < np.partition(others, allowed)[allowed]).mean())


def _interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    return Interval(value, *_percentiles(resampled))


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
