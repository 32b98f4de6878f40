"""Trying what has not been tried: models are made, measured and put on record, in processes of this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark import registry, store
from benchmark.errors import InputError
from benchmark.loading import ON_CPU
from benchmark.measure import measure
from benchmark.meta import qualities
from benchmark.meta.making import Workshop
from benchmark.meta.quantities import Quantity, asked, measured
from benchmark.meta.record import ATTACK, DISTURBED, FOLDER, Card, Trial, Tried, find, write
from benchmark.meta.trials import Design, identity
from benchmark.model import LanguageModel
from benchmark.record import MetricValue
from benchmark.yardstick import Yardstick, yardstick_for

BARRIER = 0.05
"""Nats: where the loss on text to be kept rises by more on the way from reference to target, models on the way are worse than both and
no grades of anything. It is the headline's utility budget."""

SETS = ("forget", "retain")


@dataclass(frozen=True)
class Part:
    """Trials of one task and training seed that are made together, and what each lacks."""

    design: Design
    trials: tuple[Trial, ...]
    lacking: tuple[frozenset[str], ...]
    """Names of metrics, for each trial."""
    out: Path


def missing(design: Design, trials: Sequence[Sequence[Trial]], chosen: Mapping[str, Quantity], out: Path) -> list[Part]:
    """What is not on record.

    Raises:
        InputError: a record cannot be read.
    """
    parts = []
    for together in trials:
        found = []
        for trial in together:
            tried, cards = find(out, trial), _needed(trial, chosen)
            found.append((trial, frozenset(cards) if tried is None else tried.lacks(identity(design, trial), cards)))
        if todo := [(trial, lacking) for trial, lacking in found if lacking]:
            parts.append(Part(design, tuple(trial for trial, _ in todo), tuple(lacking for _, lacking in todo), out))
    return parts


def _needed(trial: Trial, chosen: Mapping[str, Quantity]) -> dict[str, Card]:
    """The metrics that something is made from of a model."""
    cards = {name: quantity.card for name, quantity in chosen.items()}
    return {name: card for name, card in cards.items() if trial.treatment not in DISTURBED or card.axis != ATTACK}


def run(parts: Sequence[Part], jobs: int, report: Callable[[Trial], None]) -> None:
    """Make and measure; each model's record is written at once.

    Raises:
        InputError: a record cannot be written, another run is writing there, or a process died.
    """
    with store.lock(parts[0].out / FOLDER):
        if jobs == 1:
            for part in parts:
                for trial in _run(part):
                    report(trial)
            return
        context = multiprocessing.get_context("spawn")
        threads = max(1, torch.get_num_threads() // jobs)
        executor = ProcessPoolExecutor(min(jobs, len(parts)), context, initializer=torch.set_num_threads, initargs=(threads,))
        futures: list[Future[list[Trial]]] = [executor.submit(_all, part) for part in parts]
        try:
            for done in as_completed(futures):
                for trial in done.result():
                    report(trial)
        except BrokenProcessPool:
            raise InputError("a process died, out of memory perhaps; run again, what is on record stays") from None
        finally:
            executor.shutdown(cancel_futures=True)


def _all(part: Part) -> list[Trial]:
    return list(_run(part))


def _run(part: Part) -> Iterator[Trial]:
    design, task, seed = part.design, part.trials[0].task, part.trials[0].seed
    for plugin in design.plugins:
        registry.load_plugin(plugin)
    yardstick = yardstick_for(task, design.model, design.other(seed), design.data, design.protocol, ON_CPU, ())
    workshop = Workshop(task, design.lab(seed), design.splits(task), yardstick.texts, design.effort, part.out / FOLDER / "scratch")
    reason = _no_grades(workshop, yardstick) if part.trials[0].treatment == "interpolated" else None
    for trial, lacking in zip(part.trials, part.lacking, strict=True):
        of = identity(design, trial)
        lm = workshop.make(trial, of)
        chosen = asked(lacking)
        if reason is None:
            values = measured(chosen, yardstick, lm)
        else:
            values = {name: MetricValue(agg_value=None, reason=reason) for name in chosen}
        cards = {name: quantity.card for name, quantity in chosen.items()}
        tried = Tried(
            trial=trial,
            removes=yardstick.evaluation.removes,
            identity=of,
            protocol=design.protocol,
            nll=_nll(lm, yardstick),
            values=values,
            cards=cards,
        )
        write(part.out, _beside(find(part.out, trial), tried))
        yield trial


def _no_grades(workshop: Workshop, yardstick: Yardstick) -> str | None:
    """Why models between two are no grades of knowledge; None if they are."""
    path = [workshop.interpolated(share) for share in workshop.effort.shares]
    height = qualities.barrier([_nll(lm, yardstick)["retain"] for lm in path])
    return f"on the way from reference to target the loss on text to be kept rises by {height:.2f} nats" if height > BARRIER else None


def _nll(lm: LanguageModel, yardstick: Yardstick) -> dict[str, float]:
    found = measure(lm, {name: text for name, text in yardstick.evaluation.test.items() if name in SETS})
    return {name: documents.mean_nll for name, documents in found.items()}


def _beside(before: Tried | None, tried: Tried) -> Tried:
    """The record with what was on record of the same model already."""
    if before is None or before.identity != tried.identity:
        return tried
    return tried.model_copy(update={"values": {**before.values, **tried.values}, "cards": {**before.cards, **tried.cards}})
