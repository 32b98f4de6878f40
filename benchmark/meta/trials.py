"""Which models metrics are tried on: those of the lab, and series that are made from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from benchmark import registry
from benchmark.corpus import load_corpus
from benchmark.errors import InputError
from benchmark.lab import TARGET, reference_folder, seed_folder
from benchmark.meta.pools import knows, training_sets
from benchmark.meta.record import Treatment, Trial
from benchmark.model import model_fingerprint
from benchmark.record import Protocol
from benchmark.source import LAB, ModelSource, resolve_model
from benchmark.splits import Splits, split

VERSION = 1
"""Raised when a treatment changes: its models are then made and measured again."""

UNLEARNER = "gradient-difference"
"""The method behind the unlearned models: the plainest one that minds the text to be kept. What it does to a model is known to be
undone by little, which is what robustness is about; and it takes seconds."""

HALF = 0.5
"""Share of the forget documents that models are trained on from scratch."""


@dataclass(frozen=True)
class Effort:
    """How much is done to models."""

    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Of the way from the reference to the target, where models are taught or interpolated."""
    lesson: int = 30
    """Optimiser steps of teaching a share of the forget documents."""
    unlearning: int = 27
    """Steps of `UNLEARNER`: on most tasks of the lab it is then about at the headline's utility budget."""
    relearning: int = 24
    """Optimiser steps on text to be kept, as many as the panel's relearning takes."""


QUICK = Effort(shares=(0.0, 0.5, 1.0), lesson=2, unlearning=2, relearning=2)
"""Does everything work here? Not for publication."""


@dataclass(frozen=True)
class Design:
    """What is tried on, apart from the metrics."""

    source: ModelSource
    model: str
    """As named on the command line."""
    data: Path | None
    plugins: tuple[Path, ...]
    """Plugin files to import first."""
    protocol: Protocol
    effort: Effort
    scratch: bool
    """Whether models are trained from scratch on a share of the forget documents."""

    @property
    def lab_tasks(self) -> list[str]:
        """The tasks that the lab has references for: document tasks before domain tasks."""
        assert self.source.lab is not None
        return [name for name in registry.tasks() if name in self.source.lab.references]

    def splits(self, task: str) -> Splits:
        """The documents of a task."""
        return _splits(task, self.data)

    def lab(self, seed: int) -> Path:
        """The folder of the models of a training seed."""
        assert self.source.lab_folder is not None
        return seed_folder(self.source.lab_folder, seed)

    def other(self, seed: int) -> int:
        """The seed whose target and reference a model is held against: another one, so that none is compared with itself."""
        return (seed + 1) % self.source.target_seeds


def design_for(model: str, data: Path | None, plugins: Sequence[Path], quick: bool, scratch: bool) -> Design:
    """What a command asks for.

    Raises:
        InputError: the model is not a lab, or one of a single training seed.
    """
    source = resolve_model(model)
    if source.lab is None or source.setting != "lab":
        raise InputError(f"--model {model}: the truth about metrics is known of labs alone; name a lab, such as {LAB}")
    if source.target_seeds < 2:
        raise InputError(f"--model {model}: a lab of one training seed; metrics are tried on two and more: `bench lab train --seeds 2`")
    protocol = Protocol(limit=3) if quick else Protocol()
    return Design(source, model, data, tuple(plugins), protocol, QUICK if quick else Effort(), scratch)


def trials(design: Design, tasks: Sequence[str]) -> list[list[Trial]]:
    """Every model that is tried on, in the parts that are made together, task by task.

    Raises:
        InputError: there is no task, one is not known, the lab has no reference for one, or was trained on other documents.
    """
    if not tasks:
        raise InputError(f"--tasks: no name given; name some, or {registry.ALL}")
    trained_on = training_sets({task: design.splits(task) for task in design.lab_tasks})
    found = []
    for task in tasks:
        splits = design.splits(task)
        design.source.reference(task, splits.fingerprint())
        known = {name: knows(documents, splits) for name, documents in trained_on.items()}
        for seed in range(design.source.target_seeds):
            found.append([Trial(task=task, model=name, seed=seed, knows=known[name]) for name in known if known[name] is not None])
            found += _series(design, task, seed)
    return found


def _series(design: Design, task: str, seed: int) -> Iterator[list[Trial]]:
    reference, shares = reference_folder(Path(), task).name, design.effort.shares

    def trial(treatment: Treatment, model: str = reference, share: float | None = None) -> Trial:
        return Trial(task=task, model=model, seed=seed, treatment=treatment, share=share)

    yield [trial("interpolated", share=share) for share in shares[1:-1]]
    yield [trial("taught", share=share) for share in shares]
    yield [
        *(trial(treatment, TARGET) for treatment in ("unlearned", "unlearned-quantised", "unlearned-relearned")),
        trial("relearned"),
    ]
    if design.scratch:
        yield [trial("scratch", share=HALF)]


def identity(design: Design, trial: Trial) -> str:
    """SHA-256 of all that decides what the metrics say of a model, besides the metrics."""
    lab, effort = design.lab(trial.seed), asdict(design.effort)
    made: dict[Treatment, list[object]] = {
        "none": [],
        "interpolated": [_fingerprint(lab / TARGET)],
        "taught": [effort["lesson"]],
        "scratch": [],
        "relearned": [effort["relearning"]],
    }
    entry = registry.method(UNLEARNER)
    unlearned = [entry.source_hash(), repr(entry.build()), effort["unlearning"]]
    made |= {"unlearned": unlearned, "unlearned-quantised": unlearned, "unlearned-relearned": [*unlearned, effort["relearning"]]}
    yardstick = design.lab(design.other(trial.seed))
    parts = [
        VERSION,
        trial.model_dump(mode="json"),
        design.splits(trial.task).fingerprint(),
        design.protocol.model_dump(mode="json"),
        _fingerprint(lab / trial.model),
        _fingerprint(yardstick / TARGET),
        _fingerprint(reference_folder(yardstick, trial.task)),
        made[trial.treatment],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@lru_cache
def _splits(task: str, data: Path | None) -> Splits:
    asked = registry.task(task)
    return split(asked, load_corpus(data or asked.corpus))


@lru_cache
def _fingerprint(folder: Path) -> str:
    return model_fingerprint(folder)
