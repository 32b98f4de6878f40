"""From values of documents to a mean with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
    rows = np.random.default_rng(0).integers(len(each), size=(RESAMPLES, len(each)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(each[rows].mean(axis=1), [tail, 1 - tail])
    return MetricValue(
        agg_value=float(each.mean()),
        value_by_index={name: {"score": value} for name, value in values.items()},
        interval=(float(low), float(high)) if len(each) > 1 else None,
    )
