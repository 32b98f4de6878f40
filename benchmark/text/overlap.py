"""De-duplication across the roles of a domain: the same text twice, and texts that share much of their wording.

Only what is in more than one place is harmful here: a retain document that repeats a forget document teaches it again, a
holdout document that repeats a trained one is no longer unseen. Any shared run of words would be too strict a test: source
files share licence headers, papers their preambles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.corpus import Document

WORDS = 13
"""Length of the runs of words that are compared, as is usual for training data (Brown et al. 2020)."""

SHARE = 0.2
"""From this share of its runs being in another role's documents, a document overlaps."""

ORDER = ("forget", "retain", "retain_eval", "holdout")
"""Of two documents that overlap, the one whose role comes first stays: what is to be forgotten is given, what is to be unseen is not."""


@dataclass(frozen=True)
class Deduplicated:
    """Documents by role, and the ids of those that are left out."""

    roles: Mapping[str, tuple[Document, ...]]
    overlapping: Mapping[str, tuple[str, ...]]
    """By role."""


def runs(text: str) -> frozenset[str]:
    """The distinct runs of `WORDS` words, case ignored; a shorter text is one run."""
    words = text.lower().split()
    return frozenset(" ".join(words[start : start + WORDS]) for start in range(max(1, len(words) - WORDS + 1)))


def share(text: str, others: frozenset[str] | set[str]) -> float:
    """The share of a text's runs that are among others, in [0, 1]."""
    own = runs(text)
    return len(own & others) / len(own)


def same_text(text: str) -> str:
    """What two texts have in common that are the same but for white space at their ends."""
    return text.strip()


def distinct(documents: Iterable[Document]) -> tuple[tuple[Document, ...], int]:
    """The documents without those whose text came before, and how many these were."""
    documents = list(documents)
    first: dict[str, Document] = {}
    for document in documents:
        first.setdefault(same_text(document.text), document)
    return tuple(first.values()), len(documents) - len(first)


def without_overlap(roles: Mapping[str, Sequence[Document]]) -> Deduplicated:
    """Leave out each document that overlaps with those of the roles before its own, in the order of `ORDER`."""
    seen: set[str] = set()
    kept: dict[str, tuple[Document, ...]] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for role in ORDER:
        documents = roles.get(role, ())
        kept[role] = tuple(document for document in documents if share(document.text, seen) < SHARE)
        stays = {document.id for document in kept[role]}
        left_out[role] = tuple(document.id for document in documents if document.id not in stays)
        for document in kept[role]:
            seen |= runs(document.text)
    return Deduplicated(kept, left_out)
