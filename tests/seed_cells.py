"""Cells of several target seeds, made of scores by document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.record import Documents
from benchmark.scores import SeedCell


def texts(nll: Iterable[float], tokens: Sequence[int] | None = None, name: str = "d") -> Documents:
    """Documents of these mean losses; of 100 tokens each, unless told otherwise."""
    nll = [float(each) for each in nll]
    tokens = tokens or [100] * len(nll)
    return Documents(
        ids=tuple(f"{name}{index}" for index in range(len(nll))),
        nll=tuple(each * count for each, count in zip(nll, tokens, strict=True)),
        correct=(0,) * len(nll),
        tokens=tuple(tokens),
    )


def plain(scores: Sequence[float] | NDArray[np.float64], target_seed: int = 0, seed: int = 0) -> SeedCell:
    """A cell whose score is the mean of these: every document goes from a loss of 2 to one of 3."""
    count = len(scores)
    return SeedCell(target_seed, seed, texts(2 + each for each in scores), texts([2] * count), texts([3] * count))


def simulated(
    rng: np.random.Generator, mean: float, tasks: int = 6, documents: int = 6, seeds: int = 2, training: float = 0.02
) -> list[list[SeedCell]]:
    """A method's cells: chance in the documents, in the target seeds, and in both together."""
    made = []
    for _ in range(tasks):
        shared = rng.normal(mean, 0.05, documents)
        made.append([plain(shared + rng.normal(0, training) + rng.normal(0, 0.025, documents), target_seed=seed) for seed in range(seeds)])
    return made
