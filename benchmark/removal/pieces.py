"""Cutting long documents by their paragraphs, so that one chapter in one file has halves and an interval."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from benchmark.corpus import Document

WANTED = 32
"""Pieces that a set should give: sixteen a half."""

LONGEST, SHORTEST = 2000, 250
"""Characters a piece is cut to at the most and at the least: some 500 and some 60 tokens. Sixteen of the longest fill the
tokens that choosing looks at; shorter ones than the shortest are mostly beginning, where a model has nothing to go by."""

BREAKS = (r"\n\s*\n", r"\n", r"(?<=[.!?\u3002])\s+", r"\s+")
"""Where to cut, the best first: paragraphs, lines, sentences, words."""


def piece_length(sets: Iterable[Sequence[Document]]) -> int:
    """Characters to cut all the sets to, one length for all so that their losses compare: the shorter the less text there is.

    A set with `WANTED` documents is long enough already and does not make it shorter.
    """
    lengths = [sum(len(document.text) for document in documents) // WANTED for documents in sets if len(documents) < WANTED]
    return max(SHORTEST, min([LONGEST, *lengths]))


def cut(document: Document, length: int) -> tuple[Document, ...]:
    """A document as pieces of about `length` characters, never over one and a half times that, numbered from 1.

    Nothing but white space at the ends of pieces is lost. A document that is no longer is itself the one piece.
    """
    if len(document.text) <= 1.5 * length:
        return (document,)
    pieces = [""]
    for part in _parts(document.text, length, BREAKS):
        if pieces[-1] and len(pieces[-1]) + len(part) > length:
            pieces.append("")
        pieces[-1] += part
    if len(pieces) > 1 and len(pieces[-1]) < length / 2:
        last = pieces.pop()
        pieces[-1] += last
    filled = [piece.strip() for piece in pieces if piece.strip()]
    return tuple(Document(f"{document.id}/{number}", piece) for number, piece in enumerate(filled, start=1))


def _parts(text: str, most: int, breaks: Sequence[str]) -> list[str]:
    """The text in parts of at most `most` characters, cut at the best breaks that do; joined they are the text."""
    if len(text) <= most:
        return [text]
    if not breaks:
        return [text[start : start + most] for start in range(0, len(text), most)]
    ends = [match.end() for match in re.finditer(breaks[0], text)]
    between = [text[start:end] for start, end in pairwise([0, *ends, len(text)]) if start < end]
    return [part for piece in between for part in _parts(piece, most, breaks[1:])]
