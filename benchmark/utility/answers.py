"""A model's answers to the items of lm-eval tasks, in memory: no reload, no hub, and the model stays as it was."""

from __future__ import annotations

import copy
import difflib
import logging
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.error import HTTPError
from urllib.request import urlopen

import datasets
import lm_eval
import lm_eval.tasks
import numpy as np
import torch
from huggingface_hub import constants
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmark.asking import TIMEOUT as HUB_TIMEOUT
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
    higher_is_better: Mapping[str, bool | None]


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


def answer(lm: LanguageModel, name: str, limit: int | None = None, batch: int = BATCH) -> Answers:
    """Put one lm-eval task to a model, in smaller batches where memory runs out.

    Args:
        lm: the model.
        name: of the task.
        limit: most items; None for all.
        batch: sequences run at once, to begin with.

    Raises:
        Unusable: an item is longer than the model's context, or an answer is not finite.
        torch.OutOfMemoryError: one sequence alone is too much.
    """
    task = load(name)
    while True:
        try:
            with _undisturbed(lm), _quiet():
                found = lm_eval.evaluate(_InMemory(lm, batch), {"tasks": {name: task}}, limit=limit, bootstrap_iters=0, log_samples=True)
            return _collected(task, name, found)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2


def _collected(task: Any, name: str, found: Mapping[str, Any]) -> Answers:
    values: dict[str, list[Any]] = {}
    samples = sorted(found["samples"][name], key=lambda sample: int(sample["doc_id"]))
    aggregate, higher_is_better = {}, {}
    for sample in samples:
        for metric in sample["metrics"]:
            label = metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"
            values.setdefault(label, []).append(sample[metric])
            aggregate[label] = task.aggregation()[metric]
            higher_is_better[label] = task.higher_is_better().get(metric)
    items = len({sample["doc_id"] for sample in samples})
    return Answers(str(found["versions"][name]), items, values, aggregate, higher_is_better)


@cache
def load(name: str) -> Any:
    """An lm-eval task with its data.

    Raises:
        InputError: there is no such task, it is a group of tasks, or its data cannot be had.
    """
    file = FOLDER / f"{name}.yaml" if name in PACKAGED else _file(name)
    catalogue = TaskManager(include_defaults=file is None)
    if file is None and name not in catalogue.all_subtasks:
        raise _unknown(name, catalogue)
    try:
        with _quiet(), _hub(name):
            return catalogue.load([name if file is None else str(file)])["tasks"][name]
    except Exception as error:  # of lm-eval, datasets, the hub or the task's own code
        raise InputError(f"--utility {name}: cannot be loaded: {brief(error)}; without a network use {','.join(PACKAGED)}") from None


def _file(name: str) -> Path | None:
    """The file of one of lm-eval's own tasks; None where that is not plain to see, and its whole catalogue is needed.

    It has more than ten thousand: to read them all as text takes a second, to parse them all ten.
    """
    line = re.compile(rf"""^task:[ ]*["']?{re.escape(name)}["']?[ ]*(#.*)?$""", re.MULTILINE)
    files = sorted(Path(lm_eval.tasks.__file__).parent.rglob("*.yaml"))
    found = [file for file in files if line.search(file.read_text("utf-8"))]
    return found[0] if len(found) == 1 else None


def _unknown(name: str, catalogue: Any) -> InputError:
    if name in catalogue.all_tasks:
        return InputError(f"--utility {name}: a group of lm-eval's tasks; name the tasks in it that you want")
    near = difflib.get_close_matches(name, catalogue.all_subtasks, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`lm-eval ls tasks` shows them all"
    return InputError(f"--utility {name}: unknown task of lm-eval; {hint}")


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
def _hub(name: str) -> Iterator[None]:
    """Where the hub does not answer, what is on disk is used, or its absence told, without half a minute of retries."""
    if name in PACKAGED or constants.HF_HUB_OFFLINE or _answers(constants.ENDPOINT):
        yield
        return
    with mock.patch.object(constants, "HF_HUB_OFFLINE", True), mock.patch.object(datasets.config, "HF_HUB_OFFLINE", True):
        yield


def _answers(endpoint: str) -> bool:
    try:
        with urlopen(endpoint, timeout=HUB_TIMEOUT):
            return True
    except HTTPError:
        return True  # an answer, if not a welcome
    except OSError:
        return False


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
