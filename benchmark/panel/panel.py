"""The panel: which metrics are asked for, and a model on each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchmark import headline, registry
from benchmark.errors import InputError
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue, Panel

CORE = "core"
FULL = "full"
NONE = "none"


def asked(panel: str) -> tuple[str, ...]:
    """Names of the metrics that an option asks for: `core`, `full`, `none`, or names separated by commas; `core,NAME` adds to the core.

    Raises:
        InputError: a name is not known, or is of a quantity of the headline.
    """
    names = [name.strip() for name in panel.split(",") if name.strip()]
    if not names:
        raise InputError(f"--panel: no metric named; give {CORE}, {FULL}, {NONE} or names from `bench list metrics`")
    if NONE in names and len(names) > 1:
        raise InputError(f"--panel {panel}: {NONE} with something else; give one or the other")
    chosen: set[str] = set()
    for name in names:
        if name in headline.QUANTITIES:
            raise InputError(f"--panel {panel}: {name} is measured of every method; leave it out")
        if name in (CORE, FULL, NONE):
            chosen |= {metric.name for metric in registry.metrics().values() if name == FULL or (name == CORE and metric.core)}
        else:
            chosen.add(registry.metric(name).name)
    return tuple(sorted(chosen))


def versions(names: Iterable[str]) -> dict[str, int]:
    """The version of each metric."""
    return {name: registry.metric(name).version for name in names}


def measured(names: Sequence[str], subject: Subject) -> Panel:
    """The model on each metric that is of a model."""
    return {name: _value(metric, subject) for name in names if (metric := registry.metric(name)).axis != "validity"}


def measured_text(names: Sequence[str], subject: Subject) -> Panel:
    """The task's text on each metric that is of the text alone; it matters not which model is the subject."""
    return {name: _value(metric, subject) for name in names if (metric := registry.metric(name)).axis == "validity"}


def _value(metric: Metric, subject: Subject) -> MetricValue:
    try:
        value = metric.measure(subject)
    except Exception as error:  # a metric that fails is missing, with the reason; the cell's other numbers stand
        return MetricValue(agg_value=None, reason=f"{type(error).__name__}: {error}")
    if value.agg_value is not None and not math.isfinite(value.agg_value):
        return MetricValue(agg_value=None, reason="not finite")
    return value
