"""From values of documents to a mean with its interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.record import MetricValue
from benchmark.scores import CONFIDENCE, RESAMPLES


def over_documents(values: Mapping[str, float]) -> MetricValue:
    """The mean over documents, each counted once, with a percentile bootstrap over them; no interval where there is one alone.

    Raises:
        ValueError: there are no documents.
    """
    if not values:
        raise ValueError("no document to take a mean over")
    each = np.asarray(list(values.values()), dtype=np.float64)
    return MetricValue(
        agg_value=float(each.mean()),
        value_by_index={name: {"score": value} for name, value in values.items()},
        interval=percentiles(each[resamples(len(each))].mean(axis=1)) if len(each) > 1 else None,
    )


def over_examples(ids: Sequence[str], values: Iterable[tuple[int, float]], of: Callable[[list[float]], float]) -> MetricValue:
    """The mean over documents of what `of` makes of each one's examples; a document without any is left out.

    Args:
        ids: of all documents.
        values: of each example: the index of its document, and its value.
        of: how a document's value is made of its examples'.
    """
    gathered: defaultdict[str, list[float]] = defaultdict(list)
    for document, value in values:
        gathered[ids[document]].append(value)
    if not gathered:
        return MetricValue(agg_value=None, reason="no document is long enough")
    return over_documents({id_: float(of(found)) for id_, found in gathered.items()})


def over_tokens(
    ids: Sequence[str], totals: Sequence[float], tokens: Sequence[int], shown: Callable[[float], float] = lambda mean: mean
) -> MetricValue:
    """The mean over tokens, those of long documents and short ones alike, with a percentile bootstrap over documents.

    Args:
        ids: of the documents.
        totals: what is summed over each document's tokens.
        tokens: of each document.
        shown: a rising function that makes of a mean what is shown, of the interval's ends too.
    """
    total, count = np.asarray(totals, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    rows = resamples(len(ids))
    low, high = percentiles(total[rows].sum(axis=1) / count[rows].sum(axis=1))
    return MetricValue(
        agg_value=shown(float(total.sum() / count.sum())),
        value_by_index={id_: {"score": shown(one / of)} for id_, one, of in zip(ids, totals, tokens, strict=True)},
        interval=(shown(low), shown(high)) if len(ids) > 1 else None,
    )


def resamples(count: int) -> NDArray[np.int64]:
    """Row numbers of bootstrap resamples, (resamples, count): the same for every set of as many documents."""
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the interval that the resamples' values span."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
