"""The order of rows by their scores, and the ranks that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.comparison import Comparison, Rank, compare, ranks
from benchmark.scores import SeedCell


@dataclass(frozen=True)
class Contender:
    """Something to be ranked."""

    label: str
    score: float
    """Mean over the tasks of its cells."""
    flops: float
    cells: Sequence[Sequence[SeedCell]]
    """Task by task."""


@dataclass(frozen=True)
class Ranking:
    """Rows in order."""

    labels: tuple[str, ...]
    """The best score first; of equal ones, the cheaper first."""
    ranks: Mapping[str, Rank]
    comparisons: tuple[Comparison, ...]
    """Of every pair."""


def ranking(contenders: Iterable[Contender], floor: float) -> Ranking:
    """Rank contenders, all of the same tasks; differences in score up to `floor` are none."""
    ordered = sorted(contenders, key=lambda contender: (-contender.score, contender.flops, contender.label))
    comparisons = compare({contender.label: contender.cells for contender in ordered}, floor)
    labels = tuple(contender.label for contender in ordered)
    return Ranking(labels, ranks(labels, comparisons), comparisons)
