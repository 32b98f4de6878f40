"""The panel on the board: every metric of every method, task by task, beside the target's and the reference's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark import registry, scores
from benchmark.leaderboard.difference import difference, interval, mean, mean_interval, told_from_zero
from benchmark.leaderboard.flags import Caught, Flag, caught
from benchmark.leaderboard.task_table import TaskTable
from benchmark.panel.membership import auc_closeness, separable
from benchmark.panel.metric import Axis
from benchmark.record import Baseline, MetricValue, OperatingPoint, Panel, Record
from benchmark.scores import Interval

BY_INDEX = ("damage_by_domain", "damage_by_similarity")
"""Metrics of which the board shows the parts as well."""

AUC = "AUC"
"""The unit of what a membership attack gives: its score is `auc_closeness`, which has bounds and needs no target."""


@dataclass(frozen=True)
class Reading:
    """A metric of one row at the headline point: means over all of its runs."""

    agg_value: float
    interval: tuple[float, float] | None
    value_by_index: Mapping[str, Mapping[str, float]]
    """Of the metrics in `BY_INDEX` alone: that of others is in the records."""
    minus_reference: float | None
    """None where the reference has no value."""
    minus_reference_interval: tuple[float, float] | None
    """None where there is none to be had, as of relearning steps of which none was taken."""
    score: float | None
    """1 - |m - m*| / |m0 - m*|, 1 as the reference and 0 as far from it as the target; None where these two cannot be told apart. Of an
    AUC 1 - |m - m*| / max(m*, 1 - m*), 0 as far from the reference as it can be; None where that has no value."""


@dataclass(frozen=True)
class PanelRow:
    """One row of a task's table on the whole panel."""

    panel: Mapping[str, Reading | None]
    """By metric, as OpenUnlearning tells its results; None where any of its runs lacks it."""
    flags: tuple[Flag, ...]
    """What at least half of its runs are caught by, of those in which anything that it is caught by was measured."""
    reasons: tuple[str, ...]
    """The numbers behind the flags, run by run."""
    incomplete: bool
    """Whether it lacks a target seed or a seed: then it has no distance over tasks."""


@dataclass(frozen=True)
class TaskPanel:
    """One task's panel."""

    task: str
    metrics: Mapping[str, Axis | None]
    """Those that any model of the task has, by name, with the axis; None for a metric that is not installed here."""
    gaps: Mapping[str, Interval | None]
    """The reference's value less the target's, by metric: means over target seeds; None where one has no interval, or was not asked."""
    told_apart: tuple[str, ...]
    """Metrics that tell target and reference apart, for every target seed that they were asked of."""
    of_reference: tuple[str, ...]
    """Metrics that the reference has a value of, for every target seed that they were asked of."""
    scored: tuple[str, ...]
    """Metrics by which a row has a score: those that tell target and reference apart, and AUCs that the reference has."""
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
    of_reference = tuple(name for name, those in asked.items() if those and all(_has(baseline.reference_panel, name) for baseline in those))
    aucs = [name for name, card in cards.items() if card.unit == AUC]
    scored = tuple(name for name in axes if name in (of_reference if name in aucs else told_apart))
    groups = {ranked.row.label: [by_key[key] for key in ranked.row.keys] for ranked in table.rows if ranked.row.points}
    incomplete = {ranked.row.label: ranked.row.lacks is not None for ranked in table.rows}
    first = next(iter(of_task.values()))
    return TaskPanel(
        task=table.task,
        metrics=axes,
        gaps={name: mean_interval(those) if len(those) == len(of_task) else None for name, those in gaps.items()},
        told_apart=told_apart,
        of_reference=of_reference,
        scored=scored,
        text={name: value.model_copy(update={"value_by_index": {}}) for name, value in first.text_panel.items()},
        missing=(*_missing(of_task.values(), groups), *_unasked(axes, of_task.values(), groups)),
        rows={label: _row(group, axes, scored, aucs, incomplete[label]) for label, group in groups.items()},
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


def _row(group: Sequence[Record], names: Iterable[str], scored: Sequence[str], aucs: Sequence[str], incomplete: bool) -> PanelRow:
    runs = [caught(record, registry.metrics(), _separable(record)) for record in group]
    flags = _flags(group, runs)
    return PanelRow(
        panel={name: _reading(name, group, _score_of(name, aucs) if name in scored else None) for name in names},
        flags=flags,
        reasons=tuple(f"{one.flag} ({one.by}): {one.told}" for run in runs for one in run if one.flag in flags),
        incomplete=incomplete,
    )


def _flags(group: Sequence[Record], runs: Sequence[Sequence[Caught]]) -> tuple[Flag, ...]:
    """What at least half of the runs are caught by, of those with a value of any metric that it is caught by in one of them.

    What is caught by no metric, as damage is, is measured in every run.
    """
    catching: defaultdict[Flag, set[str]] = defaultdict(set)
    for run in runs:
        for one in run:
            catching[one.flag].add(one.by)
    metrics = {name for record in group for name in record.panel}
    found = []
    for flag, by in catching.items():
        count = sum(any(one.flag == flag for one in run) for run in runs)
        looked_at = sum(any(name not in metrics or _has(_point(record).panel or {}, name) for name in by) for record in group)
        if 2 * count >= looked_at:
            found.append(flag)
    return tuple(found)


_Score = Callable[[MetricValue, Baseline], float | None]


def _reading(name: str, group: Sequence[Record], score: _Score | None) -> Reading | None:
    """None unless every run has a value."""
    values = [(_point(record).panel or {}).get(name) for record in group]
    known = [value for value in values if value is not None and value.agg_value is not None]
    if len(known) < len(group):
        return None
    baselines_ = [_baseline(record) for record in group]
    references = [baseline.reference_panel.get(name) for baseline in baselines_]
    beyond = [_less(value, reference) for value, reference in zip(known, references, strict=True)]
    apart = mean_interval([None if one is None else difference(value, one) for value, one in zip(known, references, strict=True)])
    ends = [between for value in known if (between := interval(value)) is not None]
    return Reading(
        agg_value=_mean([value.agg_value or 0.0 for value in known]),
        interval=(_mean([low for low, _ in ends]), _mean([high for _, high in ends])) if len(ends) == len(known) else None,
        value_by_index=_mean_index(known) if name in BY_INDEX else {},
        minus_reference=mean(beyond),
        minus_reference_interval=None if apart is None else (apart.low, apart.high),
        score=None if score is None else mean([score(value, baseline) for value, baseline in zip(known, baselines_, strict=True)]),
    )


def _less(value: MetricValue, reference: MetricValue | None) -> float | None:
    if value.agg_value is None or reference is None or reference.agg_value is None:
        return None
    return value.agg_value - reference.agg_value


def _score_of(name: str, aucs: Sequence[str]) -> _Score:
    """How near a metric's value is to the reference's."""

    def score(value: MetricValue, baseline: Baseline) -> float | None:
        found, target, reference = (
            None if one is None else one.agg_value for one in (value, baseline.target_panel.get(name), baseline.reference_panel.get(name))
        )
        if found is None or reference is None:
            return None
        if name in aucs:
            return auc_closeness(found, reference)
        return None if target is None else scores.forget_score(found, target, reference)

    return score


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


def _unasked(names: Iterable[str], of_task: Iterable[Baseline], groups: Mapping[str, Sequence[Record]]) -> list[str]:
    """Metrics that were not asked of every run: of the task's target seeds, and else of single methods' runs."""
    everywhere = [name for name in names if all(name in baseline.target_panel for baseline in of_task)]
    told = [f"{', '.join(lacking)}: not measured on every target seed"] if (lacking := [n for n in names if n not in everywhere]) else []
    for label, group in groups.items():
        if lacking := [name for name in everywhere if any(name not in record.panel for record in group)]:
            told.append(f"{', '.join(lacking)} of {label}: not measured in every run")
    return told


def _lacking(panel: Panel, known: set[str]) -> dict[str, str | None]:
    return {name: value.reason for name, value in panel.items() if value.agg_value is None and name not in known}


def _point(record: Record) -> OperatingPoint:
    return record.operating_points[len(record.operating_points) // 2]


def _baseline(record: Record) -> Baseline:
    assert record.baseline is not None  # of a record that is ok
    return record.baseline


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
