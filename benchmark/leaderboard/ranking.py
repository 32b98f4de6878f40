"""Ranks: best first, and shared by scores that print the same."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

DECIMALS = 2
"""Scores are printed, and compared, to this many."""

T = TypeVar("T")


class Contender(NamedTuple, Generic[T]):
    """Something to be ranked."""

    score: float
    cost: float
    name: str
    item: T


def rank(contenders: Iterable[Contender[T]]) -> list[tuple[str, T]]:
    """Places in order: `1=`, `1=`, `3`. Among equals the cheaper comes first, then by name."""
    ordered = sorted(contenders, key=lambda contender: (-round(contender.score, DECIMALS), contender.cost, contender.name))
    placed: list[tuple[str, T]] = []
    for _, tied in groupby(ordered, key=lambda contender: round(contender.score, DECIMALS)):
        group = list(tied)
        place = f"{len(placed) + 1}" + ("=" if len(group) > 1 else "")
        placed += [(place, contender.item) for contender in group]
    return placed
