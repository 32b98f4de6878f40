"""The panel on the board: every metric of every method, task by task, beside the target's and the reference's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark import registry, scores
from benchmark.leaderboard.difference import difference, mean, mean_interval, told_from_zero
from benchmark.leaderboard.flags import Flag, caught
from benchmark.leaderboard.task_table import TaskTable
from benchmark.membership import separable
from benchmark.metric import Axis
from benchmark.record import Baseline, MetricValue, OperatingPoint, Panel, Record
from benchmark.scores import Interval

BY_INDEX = ("damage_by_domain", "damage_by_similarity")
"""Metrics of which the board shows the parts as well."""


@dataclass(frozen=True)
class Reading:
    """A metric of one row at the headline point: means over seeds."""

    agg_value: float
    interval: tuple[float, float] | None
    value_by_index: Mapping[str, Mapping[str, float]]
    """Of the metrics in `BY_INDEX` alone: that of others is in the records."""
    minus_reference: float | None
    """None where the reference has no value."""
    minus_reference_interval: tuple[float, float] | None
    """None where there is none to be had, as of relearning steps of which none was taken."""
    score: float | None
    """1 - |m - m*| / |m0 - m*|, 1 as the reference and 0 as far from it as the target; None where these two cannot be told apart."""


@dataclass(frozen=True)
class PanelRow:
    """One row of a task's table on the whole panel."""

    panel: Mapping[str, Reading | None]
    """By metric, as OpenUnlearning tells its results; None where it is missing."""
    flags: tuple[Flag, ...]
    """What at least half of its runs are caught by, of those with the widest panel."""
    reasons: tuple[str, ...]
    """The numbers behind the flags, run by run."""


@dataclass(frozen=True)
class TaskPanel:
    """One task's panel."""

    task: str
    metrics: Mapping[str, Axis | None]
    """Those that any model of the task has, by name, with the axis; None for a metric that is not installed here."""
    gaps: Mapping[str, Interval | None]
    """The reference's value less the target's, by metric: means over target seeds that it was asked of; None where it has no interval."""
    told_apart: tuple[str, ...]
    """Metrics that tell target and reference apart, for every target seed that they were asked of."""
    of_reference: tuple[str, ...]
    """Metrics that the reference has a value of, for every target seed."""
    text: Mapping[str, MetricValue]
    """Of the evaluation text: whether it can be told which documents are to be forgotten, without any model."""
    missing: tuple[str, ...]
    """What has no value, and why."""
    rows: Mapping[str, PanelRow]
    """By the label of the row."""


def task_panel(table: TaskTable, records: Iterable[Record]) -> TaskPanel | None:
    """The panel of one task; None where no record has one.

    Args:
        table: of the task.
        records: of every task.
    """
    by_key = {record.spec.key(): record for record in records if record.spec.task == table.task}
    of_task = _baselines(by_key.values())
    names = {name for baseline in of_task.values() for name in (*baseline.target_panel, *baseline.reference_panel)}
    cards = registry.metrics()
    if not names:
        return None
    axes = {name: card.axis for name, card in cards.items() if name in names} | dict.fromkeys(sorted(names - cards.keys()))
    asked = {name: [baseline for baseline in of_task.values() if name in baseline.target_panel] for name in axes}
    gaps = {name: [_gap(baseline, name) for baseline in those] for name, those in asked.items()}
    told_apart = tuple(name for name in axes if gaps[name] and all(map(_told, gaps[name])))
    groups = {ranked.row.label: [by_key[key] for key in ranked.row.keys] for ranked in table.rows if ranked.row.points}
    first = next(iter(of_task.values()))
    return TaskPanel(
        task=table.task,
        metrics=axes,
        gaps={name: mean_interval(those) for name, those in gaps.items()},
        told_apart=told_apart,
        of_reference=tuple(
            name for name, those in asked.items() if those and all(_has(baseline.reference_panel, name) for baseline in those)
        ),
        text={name: value.model_copy(update={"value_by_index": {}}) for name, value in first.text_panel.items()},
        missing=_missing(of_task.values(), groups),
        rows={label: _row(group, axes, told_apart) for label, group in groups.items()},
    )


def _baselines(records: Iterable[Record]) -> dict[int, Baseline]:
    """By target seed, of the record that was measured on most metrics."""
    found: dict[int, Baseline] = {}
    for record in sorted(records, key=lambda record: (record.spec.target_seed, -len(record.panel), record.spec.key())):
        if record.baseline is not None:
            found.setdefault(record.spec.target_seed, record.baseline)
    return found


def _gap(baseline: Baseline, name: str) -> Interval | None:
    reference, target = baseline.reference_panel.get(name), baseline.target_panel.get(name)
    return None if reference is None or target is None else difference(reference, target)


def _has(panel: Panel, name: str) -> bool:
    return name in panel and panel[name].agg_value is not None


def _told(gap: Interval | None) -> bool:
    return gap is not None and told_from_zero((gap.low, gap.high))


def _row(group: Sequence[Record], names: Iterable[str], told_apart: Sequence[str]) -> PanelRow:
    runs = [caught(record, registry.metrics(), _separable(record)) for record in group]
    counted = Counter(flag for run in runs for flag in dict.fromkeys(one.flag for one in run))
    asked = max(len(record.panel) for record in group)
    looked_at = sum(len(record.panel) == asked for record in group)
    reasons = [f"{one.flag} ({one.by}): {one.told}" for run in runs for one in run if 2 * counted[one.flag] >= looked_at]
    return PanelRow(
        panel={name: _reading(name, group, name in told_apart) for name in names},
        flags=tuple(flag for flag, count in counted.items() if 2 * count >= looked_at),
        reasons=tuple(reasons),
    )


def _reading(name: str, group: Sequence[Record], told_apart: bool) -> Reading | None:
    """Of the runs that the metric was asked of."""
    group = [record for record in group if name in record.panel]
    values = [(_point(record).panel or {}).get(name) for record in group]
    known = [value for value in values if value is not None and value.agg_value is not None]
    if not group or len(known) < len(group):
        return None
    baselines_ = [_baseline(record) for record in group]
    references = [baseline.reference_panel.get(name) for baseline in baselines_]
    beyond = [_less(value, reference) for value, reference in zip(known, references, strict=True)]
    apart = mean_interval([None if one is None else difference(value, one) for value, one in zip(known, references, strict=True)])
    ends = [value.interval for value in known if value.interval is not None]
    several = len(ends) == len(known)
    return Reading(
        agg_value=_mean([value.agg_value or 0.0 for value in known]),
        interval=(_mean([low for low, _ in ends]), _mean([high for _, high in ends])) if several else None,
        value_by_index=_mean_index(known) if name in BY_INDEX else {},
        minus_reference=mean(beyond),
        minus_reference_interval=None if apart is None else (apart.low, apart.high),
        score=_mean([_score(value, baseline, name) for value, baseline in zip(known, baselines_, strict=True)]) if told_apart else None,
    )


def _less(value: MetricValue, reference: MetricValue | None) -> float | None:
    if value.agg_value is None or reference is None or reference.agg_value is None:
        return None
    return value.agg_value - reference.agg_value


def _score(value: MetricValue, baseline: Baseline, name: str) -> float:
    known = [one.agg_value for one in (value, baseline.target_panel[name], baseline.reference_panel[name])]
    return scores.forget_score(*(one for one in known if one is not None))


def _mean_index(values: Sequence[MetricValue]) -> dict[str, dict[str, float]]:
    """Means of what every seed has."""
    first, *others = [value.value_by_index for value in values]
    return {
        index: {name: _mean([value[index][name] for value in (first, *others)]) for name in of}
        for index, of in first.items()
        if all(of.keys() == other.get(index, {}).keys() for other in others)
    }


def _separable(record: Record) -> bool:
    """Whether its forget and holdout documents can be told apart without a model."""
    return any(separable(value) for value in _baseline(record).text_panel.values())


def _missing(of_task: Iterable[Baseline], groups: Mapping[str, Sequence[Record]]) -> tuple[str, ...]:
    """What has no value, each reason once: of a metric that the target has no value of, and else of methods."""
    told: dict[str, None] = {}
    unmeasured: set[str] = set()
    for baseline in of_task:
        for name, value in baseline.target_panel.items():
            if value.agg_value is None:
                told[f"{name}: {value.reason}"] = None
                unmeasured.add(name)
    for label, group in groups.items():
        for record in group:
            reasons = _lacking(_point(record).panel or {}, unmeasured)
            told |= {f"{name} of {label}: {reason}": None for name, reason in reasons.items()}
    return tuple(told)


def _lacking(panel: Panel, known: set[str]) -> dict[str, str | None]:
    return {name: value.reason for name, value in panel.items() if value.agg_value is None and name not in known}


def _point(record: Record) -> OperatingPoint:
    return record.operating_points[len(record.operating_points) // 2]


def _baseline(record: Record) -> Baseline:
    assert record.baseline is not None  # of a record that is ok
    return record.baseline


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
