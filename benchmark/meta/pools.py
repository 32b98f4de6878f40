"""Which models of a lab know what a task asks to be forgotten: read from what each was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmark.corpus import Document
from benchmark.lab import TARGET, reference_folder
from benchmark.splits import Splits


def training_sets(splits: Mapping[str, Splits]) -> dict[str, frozenset[str]]:
    """Ids of the documents that each model of a lab was trained on, by the name of its folder; the same for every seed.

    Args:
        splits: of every task that the lab has a reference for.
    """
    target = {TARGET: _ids(next(iter(splits.values())).trained)}
    return target | {reference_folder(Path(), task).name: _ids(its.reference) for task, its in splits.items()}


def knows(documents: frozenset[str], splits: Splits) -> bool | None:
    """Whether a model that was trained on these documents knows what a task asks to be forgotten.

    It does if it saw everything that the task's reference did without, and does not if it saw nothing of that. None: it saw some, and
    nobody can say.
    """
    gone = _ids(splits.trained) - _ids(splits.reference)
    seen = gone & documents
    return True if seen == gone else None if seen else False


def _ids(documents: Iterable[Document]) -> frozenset[str]:
    return frozenset(document.id for document in documents)
