"""A model's answers to the items of lm-eval tasks, in memory: no reload, no hub, and the model stays as it was."""

from __future__ import annotations

import copy
import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import lm_eval
import numpy as np
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmark.errors import InputError, brief
from benchmark.measure import evaluating
from benchmark.model import LanguageModel
from benchmark.utility import FOLDER, PACKAGED

BATCH = 16
"""Sequences run through the model at once, the longest first."""

LOUD = ("lm_eval.api.task.tqdm", "lm_eval.api.model.tqdm", "lm_eval.models.huggingface.tqdm")
"""Progress bars that lm-eval has no switch for."""


class Unusable(Exception):  # noqa: N818 -- a finding about a model and a task, not an error
    """An answer that lm-eval would count as a wrong one, and that is none."""


@dataclass(frozen=True)
class Answers:
    """What a model made of one task's items."""

    version: str
    """Of the task, as lm-eval states it."""
    items: int
    values: Mapping[str, Sequence[Any]]
    """By metric, what lm-eval aggregates: one value an item."""
    aggregate: Mapping[str, Callable[[Sequence[Any]], float]]
    higher_is_better: Mapping[str, bool]


class _InMemory(HFLM):  # type: ignore[misc]  # lm-eval is not typed
    """A language model for lm-eval, which says so where lm-eval would cut an item short or count a NaN as a wrong answer."""

    def __init__(self, lm: LanguageModel, batch: int) -> None:
        super().__init__(
            pretrained=lm.model,
            tokenizer=copy.deepcopy(lm.tokenizer),  # it is given a padding token
            backend="causal",
            batch_size=batch,
            max_length=lm.context,
            softmax_dtype="float32",
        )

    def _loglikelihood_tokens(self, requests: Sequence[Any], **options: Any) -> list[tuple[float, bool]]:
        for _, context, continuation in requests:
            self._check_length(len(context) + len(continuation) - 1)  # the last token is predicted and not read
        answers: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, **options)
        if bad := [value for value, _ in answers if not math.isfinite(value)]:
            raise Unusable(f"{len(bad)} of {len(answers)} log-likelihoods are not finite, such as {bad[0]}")
        return answers

    def _model_call(self, inps: Tensor, *given: Any, **options: Any) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self.model(input_ids=inps, use_cache=False).logits
        return logits

    def tok_batch_encode(self, strings: list[str], *arguments: Any, left_truncate_len: int | None = None, **options: Any) -> Any:
        ids, mask = super().tok_batch_encode(strings, *arguments, **options)
        if left_truncate_len is not None:
            self._check_length(ids.shape[1] + self.max_length - left_truncate_len)
        return ids, mask

    def _model_generate(self, context: Tensor, *arguments: Any, **options: Any) -> Any:
        if not bool(self._model_call(context).isfinite().all()):
            raise Unusable("the model's output is not finite")
        return super()._model_generate(context, *arguments, **options)

    def _check_length(self, tokens: int) -> None:
        if tokens > self.max_length:
            raise Unusable(f"an item needs {tokens} tokens and the model's context is {self.max_length}; lm-eval would cut it")


def answer(lm: LanguageModel, name: str, batch: int = BATCH) -> Answers:
    """Put one lm-eval task to a model.

    Raises:
        Unusable: an item is longer than the model's context, or an answer is not finite.
    """
    task = load(name)
    with _undisturbed(lm), _quiet():
        found = lm_eval.evaluate(_InMemory(lm, batch), {"tasks": {name: task}}, bootstrap_iters=0, log_samples=True)
    values: dict[str, list[Any]] = {}
    samples = sorted(found["samples"][name], key=lambda sample: int(sample["doc_id"]))
    aggregate, higher_is_better = {}, {}
    for sample in samples:
        for metric in sample["metrics"]:
            label = metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"
            values.setdefault(label, []).append(sample[metric])
            aggregate[label] = task.aggregation()[metric]
            higher_is_better[label] = task.higher_is_better()[metric]
    items = len({sample["doc_id"] for sample in samples})
    return Answers(str(found["versions"][name]), items, values, aggregate, higher_is_better)


@cache
def catalogue(defaults: bool) -> Any:
    """lm-eval's index of tasks: the packaged ones and, which takes seconds, its own."""
    return TaskManager(include_path=str(FOLDER), include_defaults=defaults)


@cache
def load(name: str) -> Any:
    """An lm-eval task with its data.

    Raises:
        InputError: its data cannot be had.
    """
    try:
        with _quiet():
            return catalogue(name not in PACKAGED).load([name])["tasks"][name]
    except Exception as error:  # of lm-eval, datasets, the hub or the task's own code
        raise InputError(f"--utility {name}: cannot be loaded: {brief(error)}; without a network use {','.join(PACKAGED)}") from None


@contextmanager
def _undisturbed(lm: LanguageModel) -> Iterator[None]:
    """Leave modules in their mode, weights untied where a method untied them, and every generator where it was."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [lm.device] if lm.device.type == "cuda" else []
    with evaluating(lm.model), torch.random.fork_rng(devices), mock.patch.object(lm.model, "tie_weights"):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with ExitStack() as stack:
        for bar in LOUD:
            stack.enter_context(mock.patch(bar, _no_bar))
        try:
            yield
        finally:
            logger.setLevel(level)


def _no_bar(*given: Any, **options: Any) -> Any:
    return tqdm(*given, **{**options, "disable": True})
