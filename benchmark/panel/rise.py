"""How much harder groups of kept documents have become, with an interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.panel.documents import percentiles, resamples
from benchmark.panel.subject import Subject
from benchmark.record import Documents, MetricValue
from benchmark.scores import KEPT


@dataclass(frozen=True)
class KeptDocument:
    """A kept document of the test half and the summed token NLL that each model has on it, nats."""

    id: str
    tokens: int
    nll: float
    target: float
    reference: float | None
    """None where there is no reference model."""


def kept_documents(subject: Subject) -> list[KeptDocument]:
    """Those of the retain set and then those of the general set, each in the order of its set."""
    return [document for name in KEPT if name in subject.measured for document in _kept(subject, name)]


def _kept(subject: Subject, name: str) -> Iterator[KeptDocument]:
    model, target = subject.measured[name], subject.baseline.target_test[name]
    reference: Documents | None = subject.baseline.reference_test.get(name)
    for index, id_ in enumerate(model.ids):
        of_reference = None if reference is None else reference.nll[index]
        yield KeptDocument(id_, model.tokens[index], model.nll[index], target.nll[index], of_reference)


def worst_rise(groups: Mapping[str, Sequence[KeptDocument]], of: Sequence[str]) -> MetricValue:
    """The perplexity rise of groups of documents; the largest among some of them is the value.

    A group's rise is the perplexity of the model on it, tokens counted alike, over that of the target or of the reference,
    whichever is the worse on this group, minus 1: 0.05 for 5 %. The interval is a percentile bootstrap over documents within
    each group. By group stand `perplexity_rise`, `low`, `high` and `documents`.

    Args:
        groups: documents by the group's name, at least one in each.
        of: names of the groups that the value is the largest of.
    """
    draws = {name: _rises(documents) for name, documents in groups.items()}
    found = {}
    for name, (rise, resampled) in draws.items():
        low, high = percentiles(resampled)
        found[name] = {"perplexity_rise": rise, "low": low, "high": high, "documents": float(len(groups[name]))}
    return MetricValue(
        agg_value=max(draws[name][0] for name in of),
        value_by_index=found,
        interval=percentiles(np.max([draws[name][1] for name in of], axis=0)),
    )


def _rises(documents: Sequence[KeptDocument]) -> tuple[float, NDArray[np.float64]]:
    """The rise over all documents, and over each resample of them."""
    columns = [(document.tokens, document.nll, document.target, document.reference) for document in documents]
    tokens, model, target = (np.asarray([column[index] for column in columns], dtype=np.float64) for index in range(3))
    references = [document.reference for document in documents if document.reference is not None]
    reference = np.asarray(references) if len(references) == len(documents) else target

    def rise(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        worse = np.maximum(target[rows].sum(axis=-1), reference[rows].sum(axis=-1))
        return np.asarray(np.expm1(np.minimum(700.0, (model[rows].sum(axis=-1) - worse) / tokens[rows].sum(axis=-1))))

    return float(rise(np.arange(len(documents)))), rise(resamples(len(documents)))
