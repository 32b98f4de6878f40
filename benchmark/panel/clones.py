"""Stretches of source code that are the same but for the names in them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from typing import NamedTuple

_TOKEN = re.compile(r"(?P<word>[^\W\d]\w*)|\d[\w.]*|[^\w\s]")


class Token(NamedTuple):
    """A word, a number or a single sign of punctuation."""

    text: str
    name: bool
    """Whether it is one that the author chose: any other could stand there."""


def code_tokens(text: str) -> list[Token]:
    """The tokens of code in any of the usual languages; layout is dropped. The text may begin and end anywhere.

    A word is a name unless Python has it for a keyword, or another such word stands beside it with nothing but blanks between: so do
    the words of comments, and the keywords and types of other languages, and hardly ever two names.
    """
    found = list(_TOKEN.finditer(text))
    word = [match["word"] is not None and not keyword.iskeyword(match["word"]) for match in found]
    beside = [word[i] and word[i + 1] and text[found[i].end() : found[i + 1].start()].strip(" \t") == "" for i in range(len(found) - 1)]
    beside = [False, *beside, False]
    return [Token(match[0], word[i] and not beside[i] and not beside[i + 1]) for i, match in enumerate(found)]


def longest_clone(first: Sequence[Token], second: Sequence[Token]) -> int:
    """Tokens of the longest stretch that is in both, names renamed one to one (Baker 1995: a parameterised match)."""
    best = 0
    for i in range(len(first)):
        for j in range(len(second)):
            if min(len(first) - i, len(second) - j) > best:
                best = max(best, _alike(first[i:], second[j:]))
    return best


def _alike(first: Sequence[Token], second: Sequence[Token]) -> int:
    """Tokens from the beginning on that are the same but for names."""
    there: dict[str, str] = {}
    back: dict[str, str] = {}
    count = 0
    for a, b in zip(first, second, strict=False):
        if a.name != b.name or (not a.name and a.text != b.text):
            break
        if a.name and (there.setdefault(a.text, b.text) != b.text or back.setdefault(b.text, a.text) != a.text):
            break
        count += 1
    return count
