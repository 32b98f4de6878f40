"""What no board may do: average over a missing cell, average clipped scores, or take another mean than the arithmetic one."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from records import documents, original, record, spec, suite

import benchmark
from benchmark.leaderboard import board
from benchmark.leaderboard.export import to_json
from benchmark.record import Record

TASKS = ("arxiv", "books", "books-domain")


def without(method: str, task: str, how: str) -> list[Record]:
    """The suite with one cell gone or failed."""
    there = [each for each in suite() if (each.spec.method, each.spec.task) != (method, task)]
    (gone,) = [each for each in suite() if (each.spec.method, each.spec.task) == (method, task)]
    if how == "gone":
        return there
    return [*there, record(gone.spec, removes=gone.removes, status=how, reason="broken")]  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["gone", "failed", "declined", "diverged"])
@pytest.mark.parametrize(("method", "task"), list(itertools.product(("gradient-difference", "random-pruning"), TASKS)))
def test_a_missing_cell_leaves_no_mean_and_no_rank(method: str, task: str, how: str) -> None:
    whole, built = board(suite()), board(without(method, task, how))
    (row,) = [row for row in built.overall if row.label == method]
    assert (row.mean, row.rank, row.flops, row.scores[task]) == (None, None, None, None)
    assert (row.documents_mean is None, row.domain_mean is None) == (task != "books-domain", task == "books-domain")
    assert row.missing == f"{task}: {'no record' if how == 'gone' else how}"
    others = {row.label: (row.mean, row.flops) for row in whole.overall if row.label != method}
    assert {row.label: (row.mean, row.flops) for row in built.overall if row.label != method} == others
    assert method not in {name for comparison in built.comparisons for name in (comparison.first, comparison.second)}


def test_a_target_seed_that_others_have_is_missed() -> None:
    def of(method: str, target_seed: int) -> Record:
        made = record(spec(method), ((0.04, 0.5),))
        return made.model_copy(update={"spec": made.spec.model_copy(update={"target_seed": target_seed})})

    built = board([of("both", 0), of("both", 1), of("one", 0)])
    both, one = built.overall
    assert (both.label, both.rank and both.rank.best, both.missing) == ("both", 1, None)
    assert (one.rank, one.mean, one.missing) == (None, None, "arxiv: no record of target seed 1")
    assert built.tasks[0].rows[-1].rank is None


def test_scores_are_not_clipped_before_they_are_averaged() -> None:
    cells = [record(spec("wild"), ((0.01, 5.0),)), record(spec("wild", "books"), ((0.01, 0.9),))]
    point = cells[0].operating_points[1]
    assert point.step == 0, "the harness would not choose it"
    far = {"forget": documents("forget", 7.0)}
    chosen = tuple(each.model_copy(update={"step": 1, "test": each.test | far}) for each in cells[0].operating_points)
    built = board([original(), original("books"), cells[0].model_copy(update={"operating_points": chosen}), cells[1]])
    (row,) = [row for row in built.overall if row.label == "wild"]
    assert row.scores == pytest.approx({"arxiv": -3.0, "books": 0.9})
    assert row.mean is not None
    assert row.mean.value == pytest.approx((-3.0 + 0.9) / 2)


def test_means_are_arithmetic() -> None:
    for row in board(suite()).overall:
        if row.mean is not None:
            assert row.mean.value == pytest.approx(sum(score for score in row.scores.values() if score is not None) / len(TASKS))


def test_no_other_mean_is_taken_anywhere() -> None:
    told = re.compile(r"harmonic_mean|hmean|geometric_mean|gmean|nanmean|\.clip\(|clamp\(")
    package = Path(benchmark.__file__).parent
    alone = [package / name for name in ("scores.py", "comparison.py", "sweep/__init__.py")]
    for file in (*alone, *sorted((package / "leaderboard").glob("*.py"))):
        assert not told.search(file.read_text("utf-8")), file


def test_what_is_missing_is_null_in_the_json_and_never_zero() -> None:
    content = json.loads(to_json(board(without("gradient-difference", "books", "failed"))))
    (row,) = [row for row in content["leaderboard"]["overall"] if row["label"] == "gradient-difference"]
    assert [name for name in ("rank", "mean", "documents_mean", "flops", "seconds") if row[name] is not None] == []
    assert row["scores"]["books"] is None
    assert not list(_not_finite(content))


def _not_finite(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _not_finite(item)
    elif isinstance(value, list):
        for item in value:
            yield from _not_finite(item)
    elif isinstance(value, float) and value != value:
        yield value
