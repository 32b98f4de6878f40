"""Documents as a model sees them: token windows of at most the context length, padded on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from benchmark.corpus import Document
from benchmark.errors import InputError

SHORTEST = 5
"""Windows of fewer tokens are dropped, as in Yao et al. 2024."""


@dataclass(frozen=True)
class Passages:
    """Windows of documents, never crossing from one document into the next.

    ids: (n, length) token ids, 0 where padded. mask: (n, length) True at real tokens, which come first.
    document: (n,) the index of each window's document. window: (n,) the number of each window in the whole text: by it a
    method finds what it has worked out for that window. part_of: the batch that these windows are a part of, where it was
    too large to be run at once.
    """

    ids: Tensor
    mask: Tensor
    document: Tensor
    window: Tensor
    part_of: Passages | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def documents(self) -> int:
        """Number of documents."""
        return int(self.document.max()) + 1

    @property
    def tokens(self) -> int:
        """Number of real tokens."""
        return int(self.mask.sum())

    @property
    def longest(self) -> int:
        """Real tokens of the longest window."""
        return int(self.mask.sum(dim=1).max())

    def take(self, index: Tensor) -> Passages:
        """The windows at `index` (k,), cut to the longest of them."""
        mask = self.mask[index]
        length = int(mask.sum(dim=1).max()) if len(index) else 0
        return Passages(self.ids[index, :length], mask[:, :length], self.document[index], self.window[index])

    def beginnings(self, tokens: int) -> Passages:
        """The first `tokens` real tokens of each document: later windows are left out, the last one is cut."""
        before = torch.zeros(len(self), dtype=torch.long)
        lengths = self.mask.sum(dim=1)
        for index in range(1, len(self)):
            if self.document[index] == self.document[index - 1]:
                before[index] = before[index - 1] + lengths[index - 1]
        left = (tokens - before).clamp(min=0).minimum(lengths)
        mask = self.mask & (torch.arange(self.mask.shape[1]) < left[:, None])
        kept = (left >= SHORTEST).nonzero().flatten()
        return replace(self, ids=self.ids * mask, mask=mask).take(kept)

    def join(self, other: Passages) -> Passages:
        """These windows and then another's, whose documents are numbered on from these; all windows are numbered anew."""
        length = max(self.ids.shape[1], other.ids.shape[1])

        def widen(tensor: Tensor) -> Tensor:
            return F.pad(tensor, (0, length - tensor.shape[1]))

        return Passages(
            torch.cat([widen(self.ids), widen(other.ids)]),
            torch.cat([widen(self.mask), widen(other.mask)]),
            torch.cat([self.document, other.document + self.documents]),
            torch.arange(len(self) + len(other)),
        )

    def to(self, device: torch.device) -> Passages:
        """The same windows on a device."""
        return Passages(self.ids.to(device), self.mask.to(device), self.document.to(device), self.window.to(device), self.part_of)

    def parts(self, size: int) -> Iterator[Passages]:
        """These windows, at most `size` at a time."""
        if size >= len(self):
            yield self
            return
        for index in torch.split(torch.arange(len(self)), size):
            yield replace(self.take(index), part_of=self)

    @property
    def predicted(self) -> int:
        """Number of tokens that are predicted: all real ones but the first of each window."""
        return int(self.mask[:, 1:].sum())

    def in_order(self, size: int) -> Iterator[Passages]:
        """Batches of at most `size` windows, longest first so that little is padding."""
        order = self.mask.sum(dim=1).argsort(descending=True, stable=True)
        for start in range(0, len(self), size):
            yield self.take(order[start : start + size])

    def shuffled(self, size: int, generator: torch.Generator) -> Iterator[Passages]:
        """Endless batches of `size` windows, each pass over the windows in a new random order.

        A batch may run from one pass into the next, so that every batch has `size` windows and no window is seen
        twice before all have been seen once.
        """
        pending = torch.empty(0, dtype=torch.long)
        while True:
            while len(pending) < size:
                pending = torch.cat([pending, torch.randperm(len(self), generator=generator)])
            yield self.take(pending[:size])
            pending = pending[size:]


def passages(documents: Sequence[Document], tokenizer: PreTrainedTokenizerBase, length: int, most_tokens: int | None = None) -> Passages:
    """Cut each document into windows of `length` tokens; the last may be shorter.

    Args:
        documents: in the order of the windows.
        tokenizer: of the model.
        length: the context length.
        most_tokens: stop before the document that would bring more, but not before two have given windows.

    Raises:
        InputError: no document gives a window of at least `SHORTEST` tokens.
    """
    windows: list[list[int]] = []
    owner: list[int] = []
    total = 0
    for index, document in enumerate(documents):
        # `verbose=False`: a document longer than the context is expected here, not worth a warning
        ids: list[int] = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
        total += len(ids)
        if most_tokens is not None and total > most_tokens and len(set(owner)) >= 2:
            break
        for start in range(0, len(ids), length):
            window = ids[start : start + length]
            if len(window) >= SHORTEST:
                windows.append(window)
                owner.append(index)
    if not windows:
        first = f" ({documents[0].id!r} and so on)" if documents else ""
        raise InputError(f"none of {len(documents)} documents{first} has {SHORTEST} tokens; there must be longer ones")
    padded = torch.zeros(len(windows), length, dtype=torch.long)
    mask = torch.zeros(len(windows), length, dtype=torch.bool)
    for row, window in enumerate(windows):
        padded[row, : len(window)] = torch.tensor(window)
        mask[row, : len(window)] = True
    return Passages(padded, mask, torch.tensor(owner), torch.arange(len(windows)))
