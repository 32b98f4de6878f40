"""What a metric or a quantity of the headline gave for target and reference of each task, as it is on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmark.headline import FORGET_NLL, REFERENCE_DISTANCE
from benchmark.leaderboard import formats
from benchmark.leaderboard.difference import difference, interval, told_from_zero
from benchmark.record import Baseline, MetricValue, Record


def told_values(metric: str, records: Iterable[Record]) -> list[str]:
    """A line a task and target seed that the metric was asked of, in the order of these.

    Args:
        metric: its name.
        records: of any one method; their baselines are what is told.
    """
    return _by_task(records, lambda record, baseline: _told(metric, baseline))


def told_headline(quantity: str, records: Iterable[Record]) -> list[str]:
    """The same of a quantity of the headline, as far as it is measured of target and reference and not theirs by construction.

    Args:
        quantity: its name.
        records: of the untouched model.
    """
    tell = {FORGET_NLL.name: _forget_nll, REFERENCE_DISTANCE.name: _reference_distance}
    return _by_task(records, tell[quantity]) if quantity in tell else []


def _by_task(records: Iterable[Record], tell: Callable[[Record, Baseline], str | None]) -> list[str]:
    ordered = sorted(records, key=lambda record: (record.removes == "domain", record.spec.task, record.spec.target_seed))
    several = len({record.spec.target_seed for record in ordered}) > 1
    lines: dict[str, None] = {}
    for record in ordered:
        told = None if record.baseline is None else tell(record, record.baseline)
        if told is not None:
            seed = f", target seed {record.spec.target_seed}" if several else ""
            lines[f"{record.spec.task}{seed}: {told}"] = None
    return list(lines)


def _forget_nll(record: Record, baseline: Baseline) -> str:
    target = f"target {formats.number(baseline.target_test['forget'].mean_nll, 3)}"
    if baseline.reference_kind == "none":
        return f"{target}; there is no reference model"
    stands_in = " (the target on the holdout set)" if baseline.reference_kind == "approximate" else ""
    return f"{target}, reference {formats.number(baseline.reference_test['forget'].mean_nll, 3)}{stands_in}"


def _reference_distance(record: Record, baseline: Baseline) -> str | None:
    found = [point.divergence["forget"] for point in record.operating_points if point.divergence is not None]
    return f"target {formats.number(found[0], 3)}" if found else None


def _told(metric: str, baseline: Baseline) -> str | None:
    if metric in baseline.text_panel:
        return _value(baseline.text_panel[metric], baseline.text_panel[metric].interval)
    if metric not in baseline.target_panel:
        return None
    target, reference = baseline.target_panel[metric], baseline.reference_panel.get(metric)
    if reference is None:
        return f"target {_value(target, interval(target))}; there is no reference model"
    gap = difference(target, reference)
    apart = "told apart" if gap is not None and told_from_zero((gap.low, gap.high)) else "not told apart"
    told = f"target {_value(target, interval(target))}, reference {_value(reference, interval(reference))}"
    return told if gap is None else f"{told}: {apart}"


def _value(value: MetricValue, ends: tuple[float, float] | None) -> str:
    if value.agg_value is None:
        return f"none ({value.reason})"
    between = "" if ends is None else f" [{formats.number(ends[0], 3)}, {formats.number(ends[1], 3)}]"
    return f"{formats.number(value.agg_value, 3)}{between}"
