"""A removal request: the user's own text to be forgotten, as a task of its own.

What is to be forgotten is judged on itself. Text to be kept is dealt out, a third for the harness alone, the rest for the
methods. Where the user has none, general text stands in; without a holdout set nothing stands in for a retrained model, and
there is no forget score. Everything the request does not name is the bundled text's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from benchmark import registry
from benchmark.corpus import GENERAL, Document, load_corpus
from benchmark.errors import InputError
from benchmark.record import Requested, TextOrigin
from benchmark.removal.pieces import SHORTEST, cut, piece_length
from benchmark.removal.reading import ReadText, read_text
from benchmark.splits import Splits, deal, drawn, halve
from benchmark.task import REQUEST, Task
from benchmark.text.overlap import SHARE, distinct, runs, share
from benchmark.utility import held_back

NEEDED = {"forget": 8, "retain": 12, "holdout": 8}
"""Pieces that a set must give: four documents a half are the fewest that an interval can be drawn from; of what is to be
kept, a third is for evaluation."""

MEMBERSHIP = {"forget": "presumed", "retain": "presumed", "holdout": "non-member, as the user says"}
"""Whether the model was trained on what was given."""

LEAST = 40
"""Characters below which a document gives a model next to nothing to predict."""

COMPARED = 1000
"""Characters of the pieces that sets are compared by: a chapter is little of the book that has it, but all of some pieces."""


@dataclass(frozen=True)
class Removal:
    """What the user asks to be removed, by path."""

    forget: Path
    retain: Path | None = None
    holdout: Path | None = None
    """Text of the same kind that the model has never seen."""

    @property
    def given(self) -> dict[str, Path]:
        """The paths by set."""
        paths = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout}
        return {name: path for name, path in paths.items() if path is not None}


@dataclass(frozen=True)
class RemovalText:
    """A request, read and dealt out."""

    splits: Splits
    requested: Requested
    text: TextOrigin
    said: tuple[str, ...]
    """What the user should know of the reading, a line each."""


def request_task() -> Task:
    """The task that a removal request is."""
    return Task(
        name=REQUEST,
        domain=REQUEST,
        removes="documents",
        description="forget the text given with --forget, keep the rest",
        corpus=_bundled(),
    )


class _Dealt(NamedTuple):
    """Text to be kept: for the methods, and for the harness alone."""

    method: tuple[Document, ...]
    held: tuple[Document, ...]


@lru_cache(maxsize=2)
def read_removal(removal: Removal) -> RemovalText:
    """Read a request's text, cut it to pieces, and deal it out.

    Raises:
        InputError: a path cannot be read, sets overlap, or one is too small for an interval.
    """
    read = {name: read_text(path) for name, path in removal.given.items()}
    said = [line for text in read.values() for line in text.left_out]
    whole = {name: _usable(removal.given[name], name, text, said) for name, text in read.items()}
    _check_apart(removal.given, whole)
    length = piece_length(whole.values())
    pieces = {name: _cut(removal.given[name], name, documents, length) for name, documents in whole.items()}
    general = _general(pieces["forget"], said)
    retain = _kept(whole["retain"], length) if "retain" in whole else general.pop(GENERAL)
    requested = Requested(
        forget_sha256=read["forget"].sha256,
        documents={name: len(documents) for name, documents in whole.items()},
        pieces={name: len(documents) for name, documents in pieces.items()},
        characters={name: sum(len(document.text) for document in documents) for name, documents in pieces.items()},
        piece_length=length,
    )
    splits = _splits(pieces, retain, general)
    origin = TextOrigin(
        source="the user's own; general text is bundled with the suite and written for it",
        membership={name: MEMBERSHIP[name] if name in pieces else "unknown" for name in splits.evaluation},
    )
    return RemovalText(splits, requested, origin, tuple(said))


def _splits(pieces: Mapping[str, tuple[Document, ...]], retain: _Dealt, general: Mapping[str, _Dealt]) -> Splits:
    evaluation = {
        "forget": halve(pieces["forget"]),
        "retain": halve(retain.held),
        "general": halve(document for domain in general.values() for document in domain.held),
    }
    domains = {**general, REQUEST if "retain" in pieces else GENERAL: retain}
    if "holdout" in pieces:
        evaluation["holdout"] = halve(pieces["holdout"])
    return Splits(
        forget=pieces["forget"],
        retain=drawn(retain.method, "retain"),
        general=drawn((document for domain in general.values() for document in domain.method), "general"),
        evaluation=evaluation,
        trained=(*pieces["forget"], *retain.method, *retain.held),
        reference=(*retain.method, *retain.held),
        domains={document.id: name for name, dealt in domains.items() for document in dealt.held},
    )


def _usable(path: Path, name: str, text: ReadText, said: list[str]) -> tuple[Document, ...]:
    """The documents that are long enough to be measured, each once, their ids told apart from other sets'."""
    enough = [Document(f"{name}/{document.id}", document.text) for document in text.documents if len(document.text.strip()) >= LEAST]
    if short := len(text.documents) - len(enough):
        said.append(f"{path}: {short} documents of under {LEAST} characters left out: there is nothing in them to measure")
    once, copies = distinct(enough)
    if copies:
        said.append(f"{path}: {copies} documents left out that are there twice")
    if not once:
        raise InputError(f"--{name} {path}: no document of at least {LEAST} characters; there is nothing to measure")
    return once


def _check_apart(given: Mapping[str, Path], whole: Mapping[str, Sequence[Document]]) -> None:
    names = list(whole)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            found = _repeats(_pieces(whole[second], COMPARED), _pieces(whole[first], COMPARED))
            if found:
                piece, of = found[0]
                more = f", and {len(found) - 1} more pieces repeat some" if len(found) > 1 else ""
                raise InputError(
                    f"--{first} {given[first]} and --{second} {given[second]} overlap: {piece.id} repeats {of.id}{more};"
                    " leave that text out of one of them"
                )


def _repeats(pieces: Iterable[Document], of: Sequence[Document]) -> list[tuple[Document, Document]]:
    """The pieces that overlap with others, each with the one that it overlaps with most."""
    known = {run for other in of for run in runs(other.text)}
    found = [piece for piece in pieces if share(piece.text, known) >= SHARE]
    return [(piece, max(of, key=lambda other: share(piece.text, runs(other.text)))) for piece in found]


def _cut(path: Path, name: str, documents: Sequence[Document], length: int) -> tuple[Document, ...]:
    pieces = _pieces(documents, length)
    if len(pieces) < NEEDED[name]:
        have = sum(len(document.text) for document in documents)
        raise InputError(
            f"--{name} {path}: {have:,} characters in {len(documents)} documents are too little for an interval:"
            f" {NEEDED[name]} documents are needed, or some {NEEDED[name] * SHORTEST * 5 // 4:,} characters to cut into as many pieces"
        )
    return pieces


def _pieces(documents: Sequence[Document], length: int) -> tuple[Document, ...]:
    return tuple(piece for document in documents for piece in cut(document, length))


def _kept(documents: Sequence[Document], length: int) -> _Dealt:
    """The pieces of different documents, where there are enough of them, and different pieces in any case."""
    whole = len(documents) >= NEEDED["retain"]
    ordered = drawn(documents if whole else _pieces(documents, length), "role")
    third = len(ordered) // 3
    return _Dealt(_pieces(ordered[third:], length), _pieces(ordered[:third], length))


def _general(forget: Sequence[Document], said: list[str]) -> dict[str, _Dealt]:
    """Bundled documents by domain, without those that the request asks to forget; no method gets those that `--utility` asks about."""
    domains = {}
    for domain, documents in load_corpus(_bundled()).domains.items():
        asked = {document.id for document, _ in _repeats(documents, forget)}
        if asked:
            said.append(f"{len(asked)} bundled documents of {domain} left out: they repeat what is to be forgotten")
        roles = deal(document for document in documents if document.id not in asked)
        free = tuple(document for role in ("forget", "retain", "holdout") for document in roles[role] if document.id not in held_back())
        domains[domain] = _Dealt(free, roles["retain_eval"])
    return domains


def _bundled() -> Path:
    """The bundled text, which has general documents."""
    found = next((task.corpus for task in registry.tasks().values() if (task.corpus / GENERAL).is_dir()), None)
    if found is None:
        raise InputError("no installed task brings general text, which a removal request is judged on as well; install unlearning-bench")
    return found
