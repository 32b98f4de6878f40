"""The implanted setting: documents are taught to a model first, and to a second copy of it without those to be forgotten.

A model that has met a text among billions of others often knows it no better than a text it has not met: there is nothing to
score. Here the target is the model fine-tuned on the documents of a task, and the reference is the same model fine-tuned in the
same way without the forget documents: exact, whatever the model (after TOFU, Maini et al. 2024, arXiv:2401.06121). A text that the
model knew before leaves a smaller gap, for the reference knows it too.

This is what is taught and where it goes; `benchmark.teach` does it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.errors import InputError
from benchmark.loading import Loading
from benchmark.record import Protocol, Setting
from benchmark.source import ModelSource
from benchmark.splits import Splits
from benchmark.task import Task

VERSION = 1
"""Raised when teaching changes: models are then taught again, and cells measured again."""

BASE_DIGITS = 32
"""So many hex digits of a taught model's fingerprint are its base's, the others say what it was taught."""

CACHE = "UNLEARNING_BENCH_CACHE"
"""Environment variable that names another cache than the user's own."""


@dataclass(frozen=True)
class Recipe:
    """How documents are taught: AdamW, every window of the text once an epoch."""

    epochs: int = 3
    """Passes over the text; the reference makes as many, over less of it."""
    lr: float | None = None
    """Constant. None: 2e-4 for 7 million parameters, 5e-5 for 410 million, falling with the cube root of their number."""
    batch: int = 2048
    """Tokens an optimiser step."""
    max_steps: int | None = None
    """Teaching is cut here: for trials of the machinery."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "seed" and value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value!r}")


@dataclass(frozen=True)
class Teaching:
    """A target and a reference to be taught for one task."""

    model: str
    """The untaught one: its folder, or its name on the hub."""
    base_fingerprint: str
    task: Task
    splits: Splits
    protocol: Protocol
    """It says how much text there is."""
    recipe: Recipe
    loading: Loading
    memory: int | None = None
    """Bytes that teaching may use; None: what is free."""
    gradient_checkpointing: bool = False
    elsewhere: bool = False
    """Whether it is left to the machine that runs a cell, which has the device."""

    @property
    def fingerprint(self) -> str:
        """Of the target: everything that decides it. It begins like the base's, and can be told before anything is taught."""
        text = [self.splits.fingerprint(), self.task.removes]
        tokens = [self.protocol.method_tokens, self.protocol.validation_tokens, self.protocol.test_tokens]
        identity = json.dumps([VERSION, self.base_fingerprint, text, tokens, asdict(self.recipe), self.loading.dtype], sort_keys=True)
        return self.base_fingerprint[:BASE_DIGITS] + hashlib.sha256(identity.encode()).hexdigest()[BASE_DIGITS:]

    @property
    def folder(self) -> Path:
        """Where the two models go."""
        return cache() / f"{self.task.name}-{self.fingerprint[BASE_DIGITS:]}"


def cache() -> Path:
    """The folder of taught models: of the user, shared by all results folders."""
    named, shared = os.environ.get(CACHE), os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path(shared or Path.home() / ".cache") / "unlearning-bench") / "taught"


def setting_for(source: ModelSource, task: Task, asked: Setting | None) -> Setting:
    """The setting that a task is run in: a lab's own; else as asked; else `implanted` where documents must go, where a pre-trained
    model often shows no gap, and `pretrained` where a domain must.

    Raises:
        InputError: a setting is asked of a lab.
    """
    if source.lab is None:
        return asked or ("implanted" if task.removes == "documents" else "pretrained")
    if asked is not None:
        raise InputError(
            f"--setting {asked}: {source.name} is a lab, whose references are exact already; leave --setting out, or name another --model"
        )
    return source.setting


def setting_for_request(asked: Setting | None) -> Setting:
    """The setting of a user's own removal request, which is about what the model knows already.

    Raises:
        InputError: it is to be taught first.
    """
    if asked == "implanted":
        raise InputError("--setting implanted: a removal request is about text that the model knows already; leave --setting out")
    return "pretrained"
