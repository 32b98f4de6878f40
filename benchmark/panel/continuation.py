"""What a model writes after the beginning of an excerpt, beside what stands there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from benchmark.measure import Diverged, evaluating
from benchmark.model import LanguageModel
from benchmark.passages import Passages

LONGEST = 128
"""Tokens of an excerpt, prompt and continuation together: long windows are cut, so that a long context costs no more than a short one."""

SHORTEST = 16
"""Tokens of an excerpt that is worth decoding."""

STEP = 8
"""Prompts are a multiple of this many tokens, so that few lengths occur: those alike are decoded together, and nothing is padded."""

ROWS = 64
"""Excerpts decoded at once."""

SEED = 0

GREEDY = 8
"""Excerpts of each document that are decoded greedily, at the most: the first ones."""


@dataclass(frozen=True)
class Prompt:
    """The beginning of an excerpt, and its rest."""

    document: int
    """Index of its document."""
    ids: Tensor
    """(prompt,) token ids that the model is given."""
    truth: Tensor
    """(rest,) token ids that stand behind them."""


@dataclass(frozen=True)
class Continuation:
    """What a model wrote after a prompt: as many tokens as are in the truth, or fewer where it ended the text."""

    document: int
    truth: tuple[int, ...]
    written: tuple[int, ...]

    def texts(self, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
        """The truth and what was written, as text."""
        truth, written = (tokenizer.decode(list(ids), skip_special_tokens=True) for ids in (self.truth, self.written))
        return str(truth), str(written)


def prompts(text: Passages, most: int) -> list[Prompt]:
    """The first `most` excerpts of each document, cut in two.

    Windows are cut into excerpts of `LONGEST` tokens; what is shorter than `SHORTEST` is left out. The prompt is the first half,
    rounded down to a multiple of `STEP`.
    """
    found: list[Prompt] = []
    taken: Counter[int] = Counter()
    for row in text.window.argsort().tolist():
        document = int(text.document[row])
        for excerpt in torch.split(text.ids[row][text.mask[row]], LONGEST):
            if len(excerpt) >= SHORTEST and taken[document] < most:
                half = len(excerpt) // 2 // STEP * STEP
                found.append(Prompt(document, excerpt[:half], excerpt[half:]))
                taken[document] += 1
    return found


def greedy(lm: LanguageModel, given: Sequence[Prompt]) -> tuple[Continuation, ...]:
    """The continuation of each prompt in which every token is the most likely one.

    Raises:
        Diverged: the model's output is not finite.
    """
    return _continued(lm, given, None)


def sampled(lm: LanguageModel, given: Sequence[Prompt], count: int) -> list[tuple[Continuation, ...]]:
    """`count` continuations of each prompt, sampled at temperature 1 from the whole distribution.

    The random numbers are the same for every model: one for each prompt, sample and token, of which the token is the quantile.

    Raises:
        Diverged: the model's output is not finite.
    """
    steps = max((len(prompt.truth) for prompt in given), default=0)
    draws = torch.rand(len(given) * count, steps, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
    found = _continued(lm, [prompt for prompt in given for _ in range(count)], draws)
    return [found[start : start + count] for start in range(0, len(found), count)]


@torch.inference_mode()
def _continued(lm: LanguageModel, given: Sequence[Prompt], draws: Tensor | None) -> tuple[Continuation, ...]:
    written: dict[int, tuple[int, ...]] = {}
    with evaluating(lm.model):
        for rows in _batches(given):
            steps = max(len(given[row].truth) for row in rows)
            tokens = _decoded(lm, torch.stack([given[row].ids for row in rows]), steps, None if draws is None else draws[rows])
            for row, ids in zip(rows, tokens.tolist(), strict=True):
                written[row] = _until(lm.tokenizer.eos_token_id, ids[: len(given[row].truth)])
    return tuple(Continuation(prompt.document, tuple(prompt.truth.tolist()), written[row]) for row, prompt in enumerate(given))


def _batches(given: Sequence[Prompt]) -> Iterator[list[int]]:
    """Numbers of prompts that are of one length."""
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for row, prompt in enumerate(given):
        alike[len(prompt.ids)].append(row)
    for rows in alike.values():
        for start in range(0, len(rows), ROWS):
            yield rows[start : start + ROWS]


def _decoded(lm: LanguageModel, ids: Tensor, steps: int, draws: Tensor | None) -> Tensor:
    """The `steps` tokens (n, steps) that follow (n, length) ones; what was worked out for earlier tokens is kept."""
    tokens, cache = ids.to(lm.device), None
    written = []
    for step in range(steps):
        output = lm.model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits, cache = output.logits[:, -1].float(), output.past_key_values
        if not bool(logits.isfinite().all()):
            raise Diverged("what it says of the next token is not finite")
        tokens = logits.argmax(dim=-1, keepdim=True) if draws is None else _quantile(logits, draws[:, step : step + 1])
        written.append(tokens.cpu())
    return torch.cat(written, dim=1)


def _quantile(logits: Tensor, draws: Tensor) -> Tensor:
    """The first token (n, 1) up to which more than `draws` (n, 1) of the probability lies."""
    reached = logits.double().softmax(dim=-1).cumsum(dim=-1)
    found = torch.searchsorted(reached, draws.to(logits.device).contiguous(), right=True)
    return found.clamp(max=logits.shape[-1] - 1)  # the sum of all may fall short of 1 by rounding


def _until(end: int | None, ids: Sequence[int]) -> tuple[int, ...]:
    """The tokens before the one that ends a text."""
    return tuple(ids[: ids.index(end)] if end in ids else ids)
