"""The items of the packaged lm-eval tasks, made from the bundled general documents.

    python -m benchmark.utility.items CORPUS

writes them anew. No task removes a document of the general domain, so that one set of items serves all tasks and asks of
every model what it should still be able to do. Of these documents the items take those that no method is given, on any
task: `retain_eval`, which the lab's models were trained on, and `holdout`, which they were not. (Operating points are
chosen by the loss on validation halves, in which some of `retain_eval` is; the items themselves choose nothing.)
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.corpus import GENERAL, Corpus, Document, load_corpus
from benchmark.splits import deal
from benchmark.utility import FOLDER

WORD_ORDER, LAST_WORD = "general_word_order", "general_last_word"

PER_DOCUMENT = {WORD_ORDER: 4, LAST_WORD: 5}
"""Items of each document, where it has as many passages."""

CHOICES = 4
SHUFFLED = 4
"""Words of an ending, shuffled in all choices but one: shared words and equal length leave the order alone to tell."""

LONGEST = 36
"""Words of the longest passage: about 100 tokens of the lab's small vocabulary, whose context is 128."""


@dataclass(frozen=True)
class WordOrder:
    """An item of the word-order task: the context goes on with one of the endings."""

    document: str
    context: str
    endings: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class LastWord:
    """An item of the last-word task: the context goes on with the word (Paperno et al. 2016, arXiv:1606.06031)."""

    document: str
    context: str
    word: str


Item = WordOrder | LastWord


def documents(corpus: Corpus) -> tuple[Document, ...]:
    """The general documents that no method sees."""
    dealt = deal(corpus.documents(GENERAL))
    return (*dealt["retain_eval"], *dealt["holdout"])


def word_orders(document: Document) -> Iterator[WordOrder]:
    """Every word-order item of a document."""
    for passage in passages(document):
        words = passage.split(" ")
        context, ending = " ".join(words[:-SHUFFLED]), words[-SHUFFLED:]
        shuffled = {" ".join(order) for order in itertools.permutations(ending)} - {" ".join(ending)}
        wrong = _drawn(shuffled, f"order:{passage}")[: CHOICES - 1]
        label = int(_hash(f"label:{passage}"), 16) % CHOICES
        yield WordOrder(document.id, context, (*wrong[:label], " ".join(ending), *wrong[label:]), label)


def last_words(document: Document) -> Iterator[LastWord]:
    """Every last-word item of a document: its passages, cut behind a word of their second half."""
    for passage in passages(document):
        words = passage.split(" ")
        ends = [index for index in range(len(words) // 2, len(words)) if re.fullmatch("[a-z]{3,}", words[index])]
        if ends:
            end = ends[int(_hash(f"end:{passage}"), 16) % len(ends)]
            yield LastWord(document.id, " ".join(words[:end]), f" {words[end]}")


def passages(document: Document) -> Iterator[str]:
    """Every sentence with the one before it in its paragraph, if the two are short enough, without the full stop."""
    for paragraph in document.text.split("\n"):
        sentences = re.findall(r"\S.*?[.!?](?= [A-Z]|$)", paragraph)
        for before, sentence in itertools.pairwise(sentences):
            ends_plainly = re.search(r"( [a-z]{2,}){4}\.$", sentence)
            if ends_plainly and len(sentence.split(" ")) >= 2 * SHUFFLED and len(f"{before} {sentence}".split(" ")) <= LONGEST:
                yield f"{before} {sentence}".removesuffix(".")


def files(corpus: Corpus) -> dict[str, str]:
    """The content of the item files by name."""
    given = documents(corpus)
    made: dict[str, list[Item]] = {WORD_ORDER: [], LAST_WORD: []}
    for document in given:
        made[WORD_ORDER] += _chosen(list(word_orders(document)), PER_DOCUMENT[WORD_ORDER])
        made[LAST_WORD] += _chosen(list(last_words(document)), PER_DOCUMENT[LAST_WORD])
    return {f"{task}.jsonl": "".join(json.dumps(asdict(item)) + "\n" for item in items) for task, items in made.items()}


def _chosen(items: Sequence[Item], count: int) -> list[Item]:
    return sorted(items, key=lambda item: _hash(f"item:{item.context}"))[:count]


def _drawn(texts: Iterable[str], salt: str) -> list[str]:
    return sorted(texts, key=lambda text: _hash(f"{salt}:{text}"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    for name, content in files(load_corpus(Path(sys.argv[1]))).items():
        (FOLDER / name).write_text(content, "utf-8")
