"""From records to the qualities of each metric: on each task, and over all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

from benchmark.lab import TARGET
from benchmark.meta import qualities
from benchmark.meta.record import ATTACK, Card, Treatment, Tried


@dataclass(frozen=True)
class Qualities:
    """Of one metric; None where a value that it takes is missing. See `benchmark.meta.qualities`."""

    faithfulness: float | None
    monotonicity: float | None
    """Along shares taught; the mean over training seeds, as in the three below."""
    interpolated: float | None
    """Monotonicity along interpolated weights."""
    scratch: float | None
    """Monotonicity along trainings from scratch: reference, part, target."""
    repeatability: float | None
    seed_noise: float | None
    quantised: float | None
    """Q, under 4 bits; None as well where nothing moved."""
    relearned: float | None
    """R, under training on text to be kept; None as well where the unlearned model or the reference did not move."""


QUALITIES = tuple(field.name for field in fields(Qualities))


@dataclass(frozen=True)
class OnTask:
    """A metric on one task."""

    metric: str
    task: str
    removes: str
    qualities: Qualities
    reason: str | None
    """Why the first of the missing values is missing; None where none is."""


@dataclass(frozen=True)
class Overall:
    """A metric over the tasks that it has a value of every lab model on."""

    metric: str
    card: Card
    tasks: int
    of: int
    """Tasks on record."""
    documents: float | None
    """Mean faithfulness over the tasks where documents are to be forgotten."""
    domains: float | None
    """The same where a domain is."""
    mean: Qualities
    """Over these tasks; None where it is missing on one of them."""


def on_tasks(records: Sequence[Tried]) -> list[OnTask]:
    """Every metric on every task, measured there or not, in the order of the records."""
    cards = _cards(records)
    by_task: dict[str, list[Tried]] = {}
    for tried in records:
        by_task.setdefault(tried.trial.task, []).append(tried)
    return [_on_task(metric, card, of_task) for of_task in by_task.values() for metric, card in cards.items()]


def overall(records: Sequence[Tried]) -> list[Overall]:
    """Every metric over all tasks, in no particular order."""
    judged, tasks = on_tasks(records), len({tried.trial.task for tried in records})
    return [_overall(metric, card, [each for each in judged if each.metric == metric], tasks) for metric, card in _cards(records).items()]


def barriers(records: Sequence[Tried]) -> dict[str, float]:
    """By task, the highest rise of the loss on text to be kept, over training seeds, between reference and target, nats."""
    found = {}
    for task in dict.fromkeys(tried.trial.task for tried in records):
        values = _Values([tried for tried in records if tried.trial.task == task], lambda tried: tried.nll["retain"])
        heights = [qualities.barrier(path) for seed in values.seeds if (path := values.path(seed)) is not None]
        if heights:
            found[task] = max(heights)
    return found


def _cards(records: Iterable[Tried]) -> dict[str, Card]:
    return {name: card for tried in records for name, card in tried.cards.items()}


class _Values:
    """One number of every model of a task; None where it is missing."""

    def __init__(self, records: Sequence[Tried], value: Callable[[Tried], float | None]) -> None:
        self._of = {(t.trial.treatment, t.trial.model, t.trial.seed, t.trial.share): value(t) for t in records}
        self.pools = {knows: [value(t) for t in records if t.trial.knows is knows] for knows in (True, False)}
        self.seeds = sorted({t.trial.seed for t in records})
        self.models = list(dict.fromkeys(t.trial.model for t in records if t.trial.treatment == "none"))
        self.reference = next((t.trial.model for t in records if t.trial.treatment == "taught"), None)

    def of(self, treatment: Treatment, model: str | None, seed: int) -> float | None:
        return self._of.get((treatment, model or "", seed, None))

    def series(self, treatment: Treatment, seed: int) -> list[tuple[float, float | None]]:
        """Shares and values, in the order of the shares."""
        return sorted(
            (
                (share, value)
                for (made, _, its, share), value in self._of.items()
                if made == treatment and its == seed and share is not None
            ),
            key=lambda pair: pair[0],
        )

    def between(self, treatment: Treatment, seed: int) -> list[tuple[float, float | None]]:
        """A series with the reference and the target of that seed as its ends; empty where there is none."""
        middle = self.series(treatment, seed)
        ends = (0.0, self.of("none", self.reference, seed)), (1.0, self.of("none", TARGET, seed))
        return [ends[0], *middle, ends[1]] if middle else []

    def path(self, seed: int) -> list[float] | None:
        """The values along interpolated weights; None where one is missing."""
        return _all([value for _, value in self.between("interpolated", seed)])


def _on_task(metric: str, card: Card, records: Sequence[Tried]) -> OnTask:
    values = _Values(records, lambda tried: tried.values[metric].agg_value if metric in tried.values else None)
    knowing, ignorant = _all(values.pools[True]), _all(values.pools[False])
    attack = card.axis == ATTACK
    table = [_all([values.of("none", model, seed) for seed in values.seeds]) for model in values.models]
    rows = [row for row in table if row is not None]
    whole = len(rows) == len(table) and min(len(rows), len(values.seeds)) > 1
    target, reference = (_all([values.of("none", model, seed) for seed in values.seeds]) for model in (TARGET, values.reference))

    def per_seed(quality: Callable[[int], float | None]) -> float | None:
        found = _all([quality(seed) for seed in values.seeds])
        return statistics.fmean(found) if found else None

    def monotone(series: Sequence[tuple[float, float | None]]) -> float | None:
        found = _all([value for _, value in series])
        return qualities.monotonicity([share for share, _ in series], found, card.knows) if found else None

    def quantised(seed: int) -> float | None:
        found = _all([values.of(made, TARGET, seed) for made in ("unlearned", "unlearned-quantised")])
        return qualities.under_quantisation(found[0], found[1]) if found else None

    def relearned(seed: int) -> float | None:
        made = [("unlearned", TARGET), ("unlearned-relearned", TARGET), ("none", values.reference), ("relearned", values.reference)]
        found = _all([values.of(treatment, model, seed) for treatment, model in made])  # type: ignore[arg-type]
        return qualities.under_relearning(found[1] - found[0], found[3] - found[2]) if found else None

    return OnTask(
        metric=metric,
        task=records[0].trial.task,
        removes=records[0].removes,
        qualities=Qualities(
            faithfulness=qualities.faithfulness(knowing, ignorant, card.knows) if knowing and ignorant else None,
            monotonicity=per_seed(lambda seed: monotone(values.series("taught", seed))),
            interpolated=per_seed(lambda seed: monotone(values.between("interpolated", seed))),
            scratch=per_seed(lambda seed: monotone(values.between("scratch", seed))),
            repeatability=qualities.repeatability(rows) if whole else None,
            seed_noise=qualities.seed_noise(rows, target, reference) if whole and target and reference else None,
            quantised=None if attack else per_seed(quantised),
            relearned=None if attack else per_seed(relearned),
        ),
        reason=next((_reason(tried, metric) for tried in records if tried.trial.treatment == "none" and _reason(tried, metric)), None),
    )


def _reason(tried: Tried, metric: str) -> str | None:
    """Why a model has no value; None if it has."""
    if metric not in tried.values:
        return "not measured"
    return None if tried.values[metric].agg_value is not None else tried.values[metric].reason or "no reason given"


def _overall(metric: str, card: Card, judged: Sequence[OnTask], tasks: int) -> Overall:
    counted = [each for each in judged if each.qualities.faithfulness is not None]

    def mean(name: str, removes: str | None = None) -> float | None:
        found = _all([getattr(each.qualities, name) for each in counted if removes in (None, each.removes)])
        return statistics.fmean(found) if found else None

    return Overall(
        metric=metric,
        card=card,
        tasks=len(counted),
        of=tasks,
        documents=mean("faithfulness", "documents"),
        domains=mean("faithfulness", "domain"),
        mean=Qualities(**{name: mean(name) for name in QUALITIES}),
    )


def _all(values: Sequence[float | None]) -> list[float] | None:
    """The values, if none is missing."""
    found = [value for value in values if value is not None]
    return found if len(found) == len(values) else None
