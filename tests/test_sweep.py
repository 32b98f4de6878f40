"""Choosing defaults: equal numbers of trials, and merit read from validation alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from records import record, spec

from benchmark import LanguageModel, Request, UnlearningMethod, registry
from benchmark.errors import InputError
from benchmark.record import Cost, Scalar, Step
from benchmark.registry import MethodEntry
from benchmark.sweep import merit, settings, table, trials

TRIALS = 6
"""Settings that `bench sweep` tries of every method unless told otherwise."""


@dataclass(frozen=True)
class Searched(UnlearningMethod):
    """Has a space of six settings."""

    lr: float = 2e-4
    kept: str = "retain"
    steps: int = 60

    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"lr": (1e-4, 2e-4, 4e-4), "kept": ("retain", "both")}

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        yield


def entry(name: str = "searched", **preset: Scalar) -> MethodEntry:
    return MethodEntry(name, Searched, preset)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_as_many_settings_as_asked_for_whatever_the_defaults(count: int) -> None:
    found = settings(entry(), count)
    assert len(found) == len({repr(setting) for setting in found}) == count
    assert found == settings(entry(lr=4e-4), count)


def test_too_small_a_space_is_refused() -> None:
    with pytest.raises(InputError, match=r"^method 'searched' declares 6 settings to search; every method needs 7 for equal trials$"):
        settings(entry(), 7)


@pytest.mark.parametrize("name", registry.methods())
def test_every_method_has_enough_to_search_with_its_default_inside(name: str) -> None:
    method = registry.method(name)
    assert len(settings(method, TRIALS)) == TRIALS
    built = method.build()
    for field, values in method.cls.search.items():
        assert len(values) == len(set(values))
        assert getattr(built, field) in values
        for value in values:
            method.build({field: value})


def step(number: int, damage: float, score: float | None, forget: float = 0.5, retain: float = 0.5) -> Step:
    top1 = {"forget": forget, "retain": retain}
    return Step(step=number, nll={}, top1=top1, damage=damage, score=score, cost=Cost())


def test_merit_is_the_best_score_inside_the_budget() -> None:
    trajectory = [step(0, 0.0, 0.0), step(1, 0.02, 0.3), step(2, 0.05, 0.4), step(3, 0.04, 0.2), step(4, 0.051, 0.9)]
    assert merit(trajectory, 0.05) == 0.4
    assert merit(trajectory, 0.2) == 0.9
    assert merit(trajectory, 0.01) == 0.0


def test_doing_nothing_has_merit_zero() -> None:
    assert merit([step(0, 0.0, 0.0), step(1, 0.0, -3.0)], 0.05) == 0.0
    assert merit([step(0, 0.06, 0.0), step(1, 0.07, 0.9)], 0.05) == 0.0


def test_merit_without_a_score_is_the_top1_difference() -> None:
    trajectory = [step(0, 0.0, None), step(1, 0.01, None, forget=0.3, retain=0.45), step(2, 0.01, None, forget=0.2, retain=0.2)]
    assert merit(trajectory, 0.05) == pytest.approx(0.4 - 0.1)


def test_trials_are_ranked_within_a_method_and_failures_come_last() -> None:
    def cell(lr: float, task: str) -> Any:
        return spec("searched", task, hyperparameters={"lr": lr, "kept": "retain", "steps": 60})

    records = [
        record(cell(1e-4, "arxiv"), [(0.01, 0.2)]),
        record(cell(1e-4, "books"), [(0.01, 0.4)]),
        record(cell(2e-4, "arxiv"), [(0.01, 0.9)]),
        record(cell(2e-4, "books"), status="failed", reason="out of memory"),
        record(cell(4e-4, "arxiv"), [(0.01, 0.5), (0.4, 1.0)]),
        record(cell(4e-4, "books"), [(0.01, 0.3)]),
        record(cell(4e-4, "github"), [(0.01, 1.0)]),
        record(spec("other", "arxiv"), [(0.01, 1.0)]),
    ]
    found = trials(records, [entry()], ["arxiv", "books"], 0.05)
    assert [trial.setting["lr"] for trial in found] == [4e-4, 1e-4, 2e-4]
    assert found[0].merit == pytest.approx({"arxiv": 0.5, "books": 0.3})
    assert [trial.mean for trial in found] == [pytest.approx(0.4), pytest.approx(0.3), None]
    told = table(found, ["arxiv", "books"], 0.05).splitlines()
    assert told[0] == "Best validation forget score within 5% utility damage, by task and on average; best trials in bold."
    assert told[4:] == [
        "| searched | **lr=0.0004, kept=retain** | **0.400** | 0.500 | 0.300 |",
        "| searched | lr=0.0001, kept=retain | 0.300 | 0.200 | 0.400 |",
        "| searched | lr=0.0002, kept=retain | failed | - | - |",
    ]
