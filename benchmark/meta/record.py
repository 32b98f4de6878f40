"""What is written to disk for a model on trial: which model it is, what is known of it, what the metrics said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark import store
from benchmark.errors import InputError
from benchmark.record import MetricValue, Protocol

FOLDER = "metrics"
"""Sub-folder of a results folder that holds the records."""

Treatment = Literal["none", "interpolated", "taught", "scratch", "unlearned", "unlearned-quantised", "unlearned-relearned", "relearned"]
"""What was done to a model of the lab.

`none`: it is as trained. `interpolated`: weights on the way from the reference to the target. `taught`: the reference, fine-tuned on a
share of the forget documents. `scratch`: trained like the reference, with a share of the forget documents besides. `unlearned`: the
target, by a method; then quantised to 4 bits, or trained on text to be kept. `relearned`: the reference, trained on the same text.
"""

DISTURBED: tuple[Treatment, ...] = ("unlearned", "unlearned-quantised", "unlearned-relearned", "relearned")
"""Treatments that Q and R are made from."""

ATTACK = "robustness"
"""Axis of the metrics that quantise or relearn themselves: doing it to them first says nothing, so that they have no Q and R."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Trial(_Strict):
    """A model that metrics are tried on, for one task."""

    task: str
    model: str
    """Of the lab, by the name of its folder."""
    seed: int
    """Of its training."""
    treatment: Treatment = "none"
    share: float | None = None
    """Of the way from the reference to the target; None where the model is not one of a series."""
    knows: bool | None = None
    """Whether it was trained on what is to be forgotten; None where it is not a case of yes or no."""

    @property
    def name(self) -> str:
        """As in the name of its file."""
        share = "" if self.share is None else f"-{self.share:g}"
        made = "" if self.treatment == "none" else f"--{self.treatment}{share}"
        return f"{self.task}--{self.model}--seed-{self.seed}{made}"


class Card(_Strict):
    """What of a metric's card the trial needs."""

    axis: str
    knows: Literal["higher", "lower"]
    version: int


class Tried(_Strict):
    """The outcome of a trial."""

    trial: Trial
    removes: Literal["documents", "domain"]
    """What the task asks for."""
    identity: str
    """SHA-256 of all that decides the values besides the metrics."""
    protocol: Protocol
    nll: dict[str, float]
    """Mean token NLL on the test half, nats, by evaluation set."""
    values: dict[str, MetricValue]
    """Of each metric, without what it is made of."""
    cards: dict[str, Card]
    """Of each metric, as it was."""

    def lacks(self, identity: str, cards: Mapping[str, Card]) -> frozenset[str]:
        """The metrics that have to be measured: those that were not, and those whose model or card has changed since."""
        return frozenset(name for name, card in cards.items() if self.identity != identity or self.cards.get(name) != card)


def write(folder: Path, tried: Tried) -> None:
    """Save a record; a crash leaves the old file or the new one.

    Raises:
        InputError: the folder cannot be written to.
    """
    content = store.to_json(tried.model_dump(mode="json", exclude_defaults=True)) + "\n"
    store.write_file(folder / FOLDER / f"{tried.trial.name}.json", content.encode())


def find(folder: Path, trial: Trial) -> Tried | None:
    """The record of a trial, None where there is none.

    Raises:
        InputError: it cannot be read.
    """
    file = folder / FOLDER / f"{trial.name}.json"
    return _read(file) if file.is_file() else None


def read_all(folder: Path) -> list[Tried]:
    """Every record of a results folder, in the order of their names.

    Raises:
        InputError: one cannot be read.
    """
    return [_read(file) for file in sorted((folder / FOLDER).glob("*.json")) if not file.name.startswith(".")]


def check_alike(records: Sequence[Tried]) -> None:
    """See that records were measured alike.

    Raises:
        InputError: they are of several protocols, or of several versions of a metric.
    """
    remedy = "run `bench meta` over all tasks again, or name another --out"
    protocols = {tried.protocol.model_dump_json() for tried in records}
    if len(protocols) > 1:
        raise InputError(f"the records in {FOLDER}/ are of {len(protocols)} protocols; {remedy}")
    cards: dict[str, Card] = {}
    for tried in records:
        for name, card in tried.cards.items():
            if cards.setdefault(name, card) != card:
                raise InputError(f"the records in {FOLDER}/ are of several versions of metric {name!r}; {remedy}")


def _read(file: Path) -> Tried:
    remedy = "delete it and run `bench meta` again"
    try:
        tried = Tried.model_validate(json.loads(file.read_bytes()))
    except (OSError, ValueError) as error:
        said = f"{error.errors()[0]['msg']}" if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{file} is not a record of a trial: {said}; {remedy}") from error
    if file.stem != tried.trial.name:
        raise InputError(f"{file} holds the trial {tried.trial.name}: renamed or edited; {remedy}")
    return tried
