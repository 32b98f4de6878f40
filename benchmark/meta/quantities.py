"""What is tried: every metric of the panel that claims to tell what a model knows, and the two quantities of the board's headline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmark import headline, registry
from benchmark.errors import InputError, unknown_name
from benchmark.headline import HeadlineQuantity
from benchmark.measure import Diverged, measure
from benchmark.meta.record import Card
from benchmark.model import LanguageModel, load_model
from benchmark.panel import panel
from benchmark.panel.metric import Metric
from benchmark.record import MetricValue
from benchmark.yardstick import Yardstick

HEADLINE = headline.FORGET_NLL.name
"""The quantity that the board's headline, the forget score, is made from."""

ALL = "all"


Measure = Callable[[Yardstick, LanguageModel], MetricValue]


@dataclass(frozen=True)
class Quantity:
    """A metric on trial, or one of the headline's quantities, as far as the trial needs it."""

    name: str
    card: Card
    measure: Measure | None = None
    """None: it is a metric of the panel, and measured there."""


def _forget_nll(yardstick: Yardstick, lm: LanguageModel) -> MetricValue:
    return MetricValue(agg_value=measure(lm, {"forget": yardstick.evaluation.test["forget"]})["forget"].mean_nll)


def _reference_distance(yardstick: Yardstick, lm: LanguageModel) -> MetricValue:
    """From the yardstick's reference."""
    if yardstick.reference is None:
        return MetricValue(agg_value=None, reason="there is no reference model")
    return MetricValue(agg_value=yardstick.evaluation.distances(lm, load_model(yardstick.reference))["forget"])


MEASURED = {HEADLINE: _forget_nll, headline.REFERENCE_DISTANCE.name: _reference_distance}
"""How the headline's quantities are measured that tell what a model knows and are not made from others."""


def quantities() -> dict[str, Quantity]:
    """All that can be tried, the headline's first."""
    found = {name: _quantity(headline.QUANTITIES[name], headline.AXIS, measure) for name, measure in MEASURED.items()}
    for name, metric in registry.metrics().items():
        if metric.axis != "validity" and metric.knows != "neither":
            found[name] = _quantity(metric, metric.axis)
    return found


def _quantity(of: Metric | HeadlineQuantity, axis: str, measure: Measure | None = None) -> Quantity:
    assert of.knows != "neither"
    return Quantity(of.name, Card(axis=axis, knows=of.knows, version=of.version), measure)


def untried() -> list[str]:
    """Metrics that say nothing of what a model knows, so that there is nothing to try."""
    return [name for name in registry.metrics() if name not in quantities()]


def asked(names: Iterable[str]) -> dict[str, Quantity]:
    """Those of these names, or all.

    Raises:
        InputError: there is no name, one is not known, or one is of a metric that says nothing of what a model knows.
    """
    known, names = quantities(), list(names)
    if not names:
        raise InputError(f"--metrics: no name given; name some, or {ALL}")
    if ALL in names:
        return known
    for name in names:
        if name in untried():
            raise InputError(f"metric {name!r} says nothing of what a model knows: there is nothing to try")
        if name not in known:
            raise unknown_name("metric that can be tried", name, known)
    return {name: known[name] for name in known if name in names}


def measured(chosen: Mapping[str, Quantity], yardstick: Yardstick, lm: LanguageModel) -> dict[str, MetricValue]:
    """A model on each of them, by name; what each value is made of is left out."""
    found = {name: _own(quantity.measure, yardstick, lm) for name, quantity in chosen.items() if quantity.measure is not None}
    found |= panel.measured([name for name, quantity in chosen.items() if quantity.measure is None], yardstick.subject(lm))
    return {name: MetricValue(agg_value=value.agg_value, reason=value.reason) for name, value in found.items()}


def _own(measure: Measure, yardstick: Yardstick, lm: LanguageModel) -> MetricValue:
    try:
        return measure(yardstick, lm)
    except Diverged as error:
        return MetricValue(agg_value=None, reason=str(error))
