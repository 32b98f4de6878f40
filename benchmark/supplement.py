"""Adding metrics to a record: the model at its headline point is made again, and measured on what the record lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmark.measure import measure
from benchmark.model import LanguageModel
from benchmark.record import Baseline, OperatingPoint, Panel, Record
from benchmark.yardstick import Yardstick


def lacking(record: Record, versions: Mapping[str, int]) -> tuple[str, ...]:
    """The metrics that a record has not, or in another version, of those asked for."""
    return tuple(sorted(name for name, version in versions.items() if record.panel.get(name) != version))


def supplemented(
    record: Record, versions: Mapping[str, int], yardstick: Yardstick, model_at: Callable[[int], LanguageModel]
) -> Record | None:
    """The record with more metrics; None where target, reference or model do not come out as they did, to the last bit.

    Args:
        record: of a cell that was ok.
        versions: of all metrics that it is to have, by name.
        yardstick: of the record's cell, with the metrics that it lacks.
        model_at: runs the method and stops behind a step.
    """
    headline = record.spec.protocol.budgets.index(record.spec.protocol.headline)
    point, now = record.operating_points[headline], yardstick.evaluation.baseline
    if record.baseline is None or not _same(record.baseline, now):
        return None
    found = _panel(record, point, yardstick, model_at)
    if found is None:
        return None
    points = [*record.operating_points]
    points[headline] = point.model_copy(update={"panel": _joined(point.panel or {}, found)})
    panels = {
        name: _joined(getattr(record.baseline, name), getattr(now, name)) for name in ("target_panel", "reference_panel", "text_panel")
    }
    return record.model_copy(
        update={
            "operating_points": tuple(points),
            "baseline": record.baseline.model_copy(update=panels),
            "panel": {**record.panel, **versions},
        }
    )


def _panel(record: Record, point: OperatingPoint, yardstick: Yardstick, model_at: Callable[[int], LanguageModel]) -> Panel | None:
    baseline = yardstick.evaluation.baseline
    if record.spec.method == "retrained":
        return baseline.reference_panel
    if point.step == 0:
        return baseline.target_panel
    lm = model_at(point.step)
    test = measure(lm, yardstick.evaluation.test)
    return yardstick.panel(lm, test) if test == point.test else None


def _same(before: Baseline, now: Baseline) -> bool:
    """Whether target and reference are what they were."""
    measured = ("target_validation", "target_test", "reference_validation", "reference_test")
    return all(getattr(before, name) == getattr(now, name) for name in measured)


def _joined(before: Panel, added: Panel) -> Panel:
    return dict(sorted({**before, **added}.items()))
