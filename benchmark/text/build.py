"""From sources to documents with roles: which rows are taken, and which part each plays."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.corpus import Document
from benchmark.errors import InputError
from benchmark.text.fetch import Unusable, fetch
from benchmark.text.manifest import Domain, Dropped, Read, sha256
from benchmark.text.overlap import distinct, without_overlap
from benchmark.text.rows import read_rows
from benchmark.text.sources import CHOICES, Choice, Role, Source, Text

MOST: dict[Role, int] = {"forget": 80, "retain_eval": 80, "retain": 320, "holdout": 80}
"""Documents of a domain in each role. At some 450 tokens each, half of 80 fill what a set is measured on; more would only be
paid for. Where there are fewer rows, they are dealt in the same proportion."""

FEW: dict[Role, int] = {"forget": 8, "retain_eval": 8, "retain": 24, "holdout": 8}
"""The same, for a trial of the machinery."""

SEED = 0
"""Of the draw."""


@dataclass(frozen=True)
class Built:
    """The documents of a domain with their roles, the split that each is from, and what the manifest says of it."""

    documents: tuple[Document, ...]
    origin: dict[str, str]
    domain: Domain


def build(text: Text, model: str | None, most: Mapping[Role, int] = MOST) -> dict[str, Built]:
    """Every domain of a text, from its primary source or, failing that, its fallback.

    Args:
        text: the sources.
        model: hub repository of the model, by which membership is told.
        most: documents of a domain in each role.

    Raises:
        InputError: a domain can be had from neither.
    """
    built: dict[str, Built] = {}
    hub_silent = False
    for domain in text.domains:
        reasons: list[str] = []
        for choice in CHOICES:
            sources = text.of(domain, choice)
            if not sources:
                continue
            try:
                built[domain] = _domain(text, sources, choice, "; ".join(reasons) or None, model, hub_silent, most)
                break
            except Unusable as reason:
                reasons.append(str(reason))
                hub_silent |= reason.hub_silent
        else:
            raise InputError(f"no text for {domain}: {'; '.join(reasons)}; give a folder of your own with --data FOLDER")
    return built


def _domain(
    text: Text,
    sources: Sequence[Source],
    choice: Choice,
    instead_of: str | None,
    model: str | None,
    cache_only: bool,
    most: Mapping[Role, int],
) -> Built:
    pools = sorted(((source, pool) for source in sources for pool in source.pools), key=lambda pair: pair[1].precedence)
    found: dict[str, tuple[Document, tuple[Role, ...], str]] = {}
    reads, empty = [], 0
    for source, pool in pools:
        fetched = fetch(source, pool, cache_only)
        read = Read(
            repository=source.repository,
            revision=fetched.commit,
            pinned=source.revision == fetched.commit,
            config=pool.config,
            split=pool.split,
            licence=source.licence,
            note=source.note,
            membership=text.membership(pool.membership, model),
            rows=0,
        )
        rows = [row for row in read_rows(fetched.files, source.column) if source.column is None or source.takes(row.value)]
        full = [row for row in rows if row.text.strip() and _writable(row.text)]
        empty += len(rows) - len(full)
        for row in full:
            document = Document(f"{read.name}/{row.number}", row.text)
            found[document.id] = (document, pool.roles, read.name)
        reads.append(read.model_copy(update={"rows": len(rows)}))
    once, duplicate = distinct(document for document, _, _ in found.values())
    pooled: defaultdict[tuple[Role, ...], list[Document]] = defaultdict(list)
    for document in once:
        pooled[found[document.id][1]].append(document)
    dealt: defaultdict[str, list[Document]] = defaultdict(list)
    for roles, documents in pooled.items():
        for role, chosen in deal(documents, roles, most).items():
            dealt[role] += chosen
    kept = without_overlap(dealt)
    dropped = Dropped(
        empty=empty,
        duplicate=duplicate,
        beyond_cap=len(once) - sum(map(len, dealt.values())),
        overlapping={role: len(ids) for role, ids in kept.overlapping.items()},
    )
    for role in most:
        if len(kept.roles[role]) < 2:
            raise Unusable(_too_few(sources, role, len(dealt[role]), len(kept.overlapping[role])))
    taken = tuple(Document(document.id, document.text, role) for role in most for document in kept.roles[role])
    origin = {document.id: found[document.id][2] for document in taken}
    return Built(taken, origin, Domain(choice=choice, instead_of=instead_of, sources=tuple(reads), dropped=dropped))


def deal(documents: Sequence[Document], roles: Sequence[Role], most: Mapping[Role, int] = MOST) -> dict[Role, list[Document]]:
    """Give documents these roles, at most so many of each, in an order drawn by a seeded hash of their texts."""
    ordered = sorted(documents, key=lambda document: hashlib.sha256(f"{SEED}:{sha256(document.text)}".encode()).digest())
    wanted = sum(most[role] for role in roles)
    dealt: dict[Role, list[Document]] = {}
    start = 0
    for role in roles:
        count = most[role] if len(ordered) >= wanted else most[role] * len(ordered) // wanted
        dealt[role] = ordered[start : start + count]
        start += count
    return dealt


def _too_few(sources: Sequence[Source], role: str, dealt: int, overlapping: int) -> str:
    where = " and ".join(dict.fromkeys(source.repository for source in sources))
    if not overlapping:
        return f"{where} gives {dealt} documents for the {role} set, which needs 2"
    return f"{where}: {overlapping} of {dealt} documents of the {role} set overlap with those of other sets, and 2 must be left"


def _writable(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which no encoding can write."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
