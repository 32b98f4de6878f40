"""Which metric would be the best headline, by a rule that was fixed before anything was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.meta.judging import Overall

DECIMALS = 2
"""Differences beyond these decimals of faithfulness and monotonicity count as none: a task has a few dozen pairs of models."""

RULE = (
    "of the metrics that have a value of every model on every task on record, the one of highest mean faithfulness; among those equal in"
    " it to two decimals, the one of highest monotonicity along the shares taught; among those equal in both, the one of least seed noise"
)


@dataclass(frozen=True)
class Verdict:
    """What the rule says."""

    best: str
    eligible: tuple[str, ...]
    """From the best down."""
    level: tuple[str, ...]
    """Those that only seed noise tells from the best, the best among them."""


def ranked(lines: Iterable[Overall]) -> list[Overall]:
    """Metrics from the most faithful down; those that lack a value on some task come last."""
    return sorted(lines, key=lambda line: (not _eligible(line), *_key(line), line.metric))


def verdict(lines: Iterable[Overall]) -> Verdict | None:
    """The rule's choice; None where no metric is eligible."""
    chosen = [line for line in ranked(lines) if _eligible(line)]
    if not chosen:
        return None
    level = [line.metric for line in chosen if _key(line)[:2] == _key(chosen[0])[:2]]
    return Verdict(chosen[0].metric, tuple(line.metric for line in chosen), tuple(level))


def _eligible(line: Overall) -> bool:
    needed = (line.mean.faithfulness, line.mean.monotonicity, line.mean.seed_noise)
    return line.tasks == line.of and None not in needed


def _key(line: Overall) -> tuple[float, float, float]:
    """Smaller is better; what is missing comes last."""
    mean = line.mean
    return (
        -_rounded(mean.faithfulness),
        -_rounded(mean.monotonicity),
        float("inf") if mean.seed_noise is None else mean.seed_noise,
    )


def _rounded(value: float | None) -> float:
    return float("-inf") if value is None else round(value, DECIMALS) + 0.0
