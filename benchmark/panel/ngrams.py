"""How alike texts are by the words in them, and how well two kinds of texts can be told apart by that, without any language model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

PIECE = re.compile(r"\w+|[^\w\s]")
"""A word, or a mark that is neither word nor space: code has as many of these."""

RIDGE = 1.0
"""Of the classifier; the similarity of a text with itself is 1."""


def similarity(texts: Sequence[str]) -> NDArray[np.float64]:
    """Cosine similarity (n, n) of texts by their pieces and pairs of neighbouring pieces.

    A text is a vector of (1 + ln count) * (1 + ln((1 + n) / (1 + texts with it))): TF-IDF with sublinear counts and smoothed
    document frequencies.
    """
    counts = [Counter(_grams(text)) for text in texts]
    frequency = Counter(gram for count in counts for gram in count)
    column = {gram: index for index, gram in enumerate(frequency)}
    rarity = 1 + np.log((1 + len(texts)) / (1 + np.array(list(frequency.values()), dtype=np.float64)))
    ends = np.cumsum([0, *(len(count) for count in counts)])
    columns = np.array([column[gram] for count in counts for gram in count], dtype=np.int64)
    times = np.array([times for count in counts for times in count.values()], dtype=np.float64)
    vectors = csr_array(((1 + np.log(times)) * rarity[columns], columns, ends), shape=(len(texts), len(column)))
    products = np.asarray((vectors @ vectors.T).todense())
    lengths = np.sqrt(np.diag(products))
    lengths[lengths == 0] = 1.0  # a text of nothing but space
    return np.asarray(products / np.outer(lengths, lengths))


def _grams(text: str) -> list[str]:
    pieces = PIECE.findall(text)
    return pieces + [" ".join(pair) for pair in pairwise(pieces)]


class PairsLeftOut(NamedTuple):
    """What classifiers say of texts that they were not trained on."""

    auc: float
    """Share of the pairs, one text of each kind, in which the one of the first kind is taken for it; ties counted half."""
    scores: NDArray[np.float64]
    """(n,) the mean over the pairs that a text is in of what is predicted for it; the higher, the more it looks like the first kind."""


def leave_pairs_out(inverse: NDArray[np.float64], first: NDArray[np.bool_]) -> PairsLeftOut:
    """A ridge classifier's word on every pair of one text of each kind, trained on all texts but these two.

    A pair, as leaving out one text alone shifts the balance of the rest against it (Airola et al. 2011, doi:10.1016/j.csda.2010.11.018).
    What is predicted for texts left out follows from the inverse of all texts' kernel: y - y' = (G_SS)^-1 (G y)_S for texts S.

    Args:
        inverse: G (n, n), of `inverse_kernel`.
        first: (n,) True at texts of the first kind.
    """
    label = first - first.mean()
    one, two = np.flatnonzero(first), np.flatnonzero(~first)
    weighed, own = inverse @ label, np.diag(inverse)
    a, b, c = own[one][:, None], own[two], inverse[np.ix_(one, two)]
    determinant = a * b - c**2
    u, v = weighed[one][:, None], weighed[two]
    of_one = label[one][:, None] - (b * u - c * v) / determinant
    of_two = label[two] - (a * v - c * u) / determinant
    scores = np.empty(len(first))
    scores[one], scores[two] = of_one.mean(axis=1), of_two.mean(axis=0)
    return PairsLeftOut(float(np.mean((of_one > of_two) + 0.5 * (of_one == of_two))), scores)


def inverse_kernel(similarities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K + `RIDGE`)^-1 of similarities (n, n) between texts, each less the mean of all texts."""
    size = len(similarities)
    centred = np.eye(size) - 1 / size
    return np.asarray(np.linalg.inv(centred @ similarities @ centred + RIDGE * np.eye(size)))
