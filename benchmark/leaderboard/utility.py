"""What lm-eval says of the models at the headline operating points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.leaderboard.rows import Row
from benchmark.record import Record
from benchmark.utility_result import UtilityResult, UtilityScore


@dataclass(frozen=True)
class Gauge:
    """A model on one metric: means over seeds.

    The errors are means as well: seeds answer the same items, so that more of them leave the error over items where it is.
    """

    value: float
    stderr: float | None
    change: float | None
    """Less the target's."""
    change_stderr: float | None


@dataclass(frozen=True)
class UtilityTable:
    """One metric of one lm-eval task, for every method on every task of the board."""

    name: str
    """Of the lm-eval task."""
    metric: str | None
    """None where nothing could be measured."""
    version: str | None
    items: int
    higher_is_better: bool | None
    target: Gauge | None
    changes: Mapping[str, Mapping[str, Gauge | None]]
    """By the row's label and its task; None where it is missing."""
    missing: tuple[str, ...]
    """Why, for those that lm-eval was tried on."""

    @property
    def title(self) -> str:
        """`hellaswag, acc_norm`."""
        return self.name if self.metric is None else f"{self.name}, {self.metric}"

    def gauge(self, row: Row) -> Gauge | None:
        """What a row's model is worth here."""
        return self.changes.get(row.label, {}).get(row.task)


def utility_tables(records: Sequence[Record], summed: Iterable[Row]) -> tuple[UtilityTable, ...]:
    """One table a metric of each lm-eval task that was asked for; for a task that gave no metric at all, one that says so.

    Args:
        records: of every task.
        summed: `rows` of these.
    """
    summed = list(summed)
    by_key = {record.spec.key(): record for record in records}
    targets = [
        (record.spec.target_seed, record.baseline.utility) for record in records if record.baseline is not None and record.baseline.utility
    ]
    found = {row.keys: [_headline(by_key[key]) for key in row.keys] for row in summed if row.points}
    tables = []
    for name in sorted({name for record in records for name in record.spec.protocol.utility}):
        results = [(target_seed, target[name]) for target_seed, target in targets if name in target]
        metrics: list[str | None] = [*sorted({metric for _, result in results for metric in result.scores})] or [None]
        tables += [_table(name, metric, results, summed, found) for metric in metrics]
    return tuple(tables)


def _headline(record: Record) -> Mapping[str, UtilityResult]:
    return record.operating_points[len(record.operating_points) // 2].utility or {}


def _table(
    name: str,
    metric: str | None,
    targets: Sequence[tuple[int, UtilityResult]],
    summed: Sequence[Row],
    found: Mapping[tuple[str, ...], Sequence[Mapping[str, UtilityResult]]],
) -> UtilityTable:
    changes: dict[str, dict[str, Gauge | None]] = {}
    missing = [f"target: {target.reason}" for _, target in targets if target.reason][:1]
    for row in summed:
        results = [result for result in (each.get(name) for each in found.get(row.keys, ())) if result is not None]
        scores = [result.scores[metric] for result in results if metric in result.scores]
        changes.setdefault(row.label, {})[row.task] = _gauge(scores) if scores and len(scores) == len(row.keys) else None
        if not any(target.reason for _, target in targets):
            missing += [f"{row.label} on {row.task}: {result.reason}" for result in results if result.reason][:1]
    measured: dict[int, UtilityResult] = {}
    for target_seed, target in targets:
        if metric in target.scores:
            measured.setdefault(target_seed, target)
    of_targets = [target.scores[metric] for target in measured.values()] if metric else []
    some = next(iter(measured.values()), None)
    return UtilityTable(
        name=name,
        metric=metric,
        version=some.version if some else None,
        items=some.items if some else 0,
        higher_is_better=of_targets[0].higher_is_better if of_targets else None,
        target=_gauge(of_targets) if of_targets else None,
        changes=changes,
        missing=tuple(missing),
    )


def _gauge(scores: Sequence[UtilityScore]) -> Gauge:
    return Gauge(
        value=sum(score.value for score in scores) / len(scores),
        stderr=_mean([score.stderr for score in scores]),
        change=_mean([score.change for score in scores]),
        change_stderr=_mean([score.change_stderr for score in scores]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None
