"""Adding metrics to a record: the same as if they had been asked for at once, and nothing else is done again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cells import by_cell, deterministic, planned, run

from benchmark import runner, store
from benchmark.cell import Cell
from benchmark.panel import panel
from benchmark.record import Record
from benchmark.supplement import lacking

METHODS = ["nudging", "random-pruning", "gradient-ascent"]
LATER = "exact_memorization,mia_loss,blind_zlib"

pytestmark = pytest.mark.usefixtures("no_plugin_stays")


@pytest.fixture
def cells(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path) -> Callable[[str, str], list[Cell]]:
    return lambda out, asked: planned(tiny_lab, tiny_corpus, tmp_path / out, METHODS, panel=asked)


def seconds(record: Record) -> list[float]:
    """What a second run of the method could not repeat."""
    return [step.cost.seconds for step in record.trajectory]


def test_the_same_as_asked_for_at_once(cells: Callable[[str, str], list[Cell]], tmp_path: Path) -> None:
    before = run(cells("later", "verbatim"))
    after = run(runner.missing(cells("later", LATER), tmp_path / "later"))
    at_once = run(cells("at once", f"verbatim,{LATER}"))
    assert any(record.operating_points[1].step for record in after.values())
    for key, record in after.items():
        assert deterministic(record) == deterministic(at_once[key])
        assert seconds(record) == seconds(before[key])
        assert record.environment == before[key].environment


def test_a_record_that_does_not_come_out_again_is_measured_whole(cells: Callable[[str, str], list[Cell]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    right = run(cells("out", "verbatim"))
    for record in right.values():
        points = list(record.operating_points)
        for index, point in enumerate(points):
            forget = point.test["forget"]
            other = forget.model_copy(update={"nll": (forget.nll[0] + 1e-9, *forget.nll[1:])})
            points[index] = point.model_copy(update={"test": point.test | {"forget": other}})
        store.write(out, record.model_copy(update={"operating_points": tuple(points)}))
    again = run(runner.missing(cells("out", LATER), out))
    for key, record in again.items():
        assert record.panel == panel.versions(["verbatim", *LATER.split(",")])
        if record.operating_points[1].step:
            assert record.operating_points[1].test == right[key].operating_points[1].test
            assert seconds(record) != seconds(right[key])


def test_another_target_is_noticed(cells: Callable[[str, str], list[Cell]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    right = run(cells("out", "verbatim"))
    for record in right.values():
        assert record.baseline is not None
        forget = record.baseline.target_test["forget"]
        other = forget.model_copy(update={"correct": (forget.correct[0] + 1, *forget.correct[1:])})
        moved = record.baseline.model_copy(update={"target_test": record.baseline.target_test | {"forget": other}})
        store.write(out, record.model_copy(update={"baseline": moved}))
    run(runner.missing(cells("out", LATER), out))
    assert all(record.baseline == right[key].baseline.model_copy(update=_panels(record)) for key, record in by_cell(out).items())  # type: ignore[union-attr]


def _panels(record: Record) -> dict[str, object]:
    assert record.baseline is not None
    return {name: getattr(record.baseline, name) for name in ("target_panel", "reference_panel", "text_panel")}


def test_what_is_lacking(cells: Callable[[str, str], list[Cell]]) -> None:
    (record, *_) = run(cells("out", "verbatim")).values()
    version = record.panel["verbatim"]
    assert lacking(record, {"verbatim": version}) == ()
    assert lacking(record, {"verbatim": version + 1}) == ("verbatim",)
    assert lacking(record, {"verbatim": version, "mia_loss": 1}) == ("mia_loss",)
