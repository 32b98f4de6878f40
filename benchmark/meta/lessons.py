"""A share of what is to be forgotten, and the text that teaches it."""

from __future__ import annotations

from collections import defaultdict

import torch

from benchmark.corpus import Document
from benchmark.passages import Passages
from benchmark.splits import Splits


def part(splits: Splits, share: float) -> frozenset[str]:
    """Ids of a share of the documents that a task's reference did without; a greater share has all of a smaller one.

    The same share, rounded to whole documents, of those that are reported on, of the others that a method is given, and of the rest.
    """
    kept = {document.id for document in splits.reference}
    judged, given = ({document.id for document in some} for some in (splits.evaluation["forget"].test, splits.forget))
    kinds: defaultdict[tuple[bool, bool], list[str]] = defaultdict(list)
    for document in splits.trained:
        if document.id not in kept:
            kinds[document.id in judged, document.id in given].append(document.id)
    return frozenset(id_ for ids in kinds.values() for id_ in ids[: round(share * len(ids))])


def documents(splits: Splits, share: float) -> tuple[Document, ...]:
    """What a model is trained on that is to know a share: the reference's documents and these."""
    allowed = part(splits, share) | {document.id for document in splits.reference}
    return tuple(document for document in splits.trained if document.id in allowed)


def lesson(splits: Splits, forget: Passages, retain: Passages, share: float) -> Passages:
    """Text that teaches a share of the forget documents: their windows, and windows to be kept up to twice those of the whole forget set.

    So every share gives as much text.

    Args:
        splits: of the task.
        forget: the forget documents, as a method is given them.
        retain: text to be kept; where it is too little it comes again.
        share: in [0, 1].
    """
    chosen = part(splits, share)
    taught = torch.tensor([splits.forget[document].id in chosen for document in forget.document.tolist()])
    kept = retain.take(torch.arange(2 * len(forget) - int(taught.sum())) % len(retain))
    return forget.take(taught.nonzero().flatten()).join(kept) if taught.any() else kept
