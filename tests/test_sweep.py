"""Choosing defaults: equal numbers of trials, and merit read from validation alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from records import record, spec

from benchmark import LanguageModel, Request, UnlearningMethod, check_positive, registry
from benchmark.errors import InputError
from benchmark.record import Cost, Scalar, Step
from benchmark.registry import MethodEntry
from benchmark.scores import validation_merit as merit
from benchmark.sweep import grids, settings, table, trials

TRIALS = 6
"""Settings that `bench sweep` tries of every method unless told otherwise."""


@dataclass(frozen=True)
class Searched(UnlearningMethod):
    """Has a space of six settings."""

    lr: float = 2e-4
    kept: str = "retain"
    steps: int = 60

    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"lr": (1e-4, 2e-4, 4e-4), "kept": ("retain", "both")}

    def __post_init__(self) -> None:
        check_positive("steps", self.steps)

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


def test_a_grid_is_the_product_over_a_methods_fields_and_the_others_keep_their_own() -> None:
    found = grids(["searched.lr=1e-5, 3e-5,1e-5", "searched.steps=20,40"], [entry(), entry("other")])
    assert found == {
        "searched": [{"lr": 1e-5, "steps": 20}, {"lr": 1e-5, "steps": 40}, {"lr": 3e-5, "steps": 20}, {"lr": 3e-5, "steps": 40}],
        "other": [{}],
    }


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("searched.lr", "--grid searched.lr: expected method.field=value,value, as in gradient-ascent.lr=1e-5,3e-5"),
        ("serched.lr=1", "unknown method in --grid 'serched'; did you mean 'searched'?"),
        ("searched.rl=1", "unknown field of searched 'rl'; did you mean 'lr'?"),
        ("searched.lr=1,fast", "--grid searched.lr=fast: expected a number"),
        ("searched.lr=", "--grid searched.lr=: expected a number"),
        ("searched.steps=7,-1", "--grid searched: steps must be above 0, not -1"),
        ("searched.lr=1", "--grid searched.lr=1: searched.lr has been given values already"),
        ("searched.kept=both", "--grid searched.kept=both: searched.kept is given with --set as well"),
    ],
)
def test_a_grid_that_does_not_fit(setting: str, said: str) -> None:
    before = [] if setting != "searched.lr=1" else ["searched.lr=2"]
    with pytest.raises(InputError) as error:
        grids([*before, setting], [entry()], fixed=["searched.kept=retain"])
    assert str(error.value) == said


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


def test_seeds_are_averaged_and_one_that_is_missing_leaves_no_mean() -> None:
    def cell(lr: float, seed: int) -> Any:
        return spec("searched", "arxiv", seed=seed, hyperparameters={"lr": lr, "kept": "retain", "steps": 60})

    records = [
        record(cell(1e-4, 0), [(0.01, 0.2)]),
        record(cell(1e-4, 1), [(0.01, 0.4)]),
        record(cell(2e-4, 0), [(0.01, 0.9)]),
        record(cell(2e-4, 1), status="diverged", reason="not finite"),
    ]
    first, second = trials(records, [entry()], ["arxiv"], 0.05)
    assert first.setting["lr"] == 1e-4
    assert first.mean == pytest.approx(0.3)
    assert second.setting["lr"] == 2e-4
    assert second.mean is None


def test_trials_are_told_apart_by_the_fields_that_were_varied() -> None:
    def cell(steps: int) -> Any:
        return spec("searched", "arxiv", hyperparameters={"lr": 2e-4, "kept": "retain", "steps": steps})

    records = [record(cell(20), [(0.01, 0.2)]), record(cell(40), [(0.01, 0.4)])]
    found = trials(records, [entry()], ["arxiv"], 0.05, {"searched": ["steps"]})
    assert [trial.setting for trial in found] == [{"steps": 40}, {"steps": 20}]
    assert [trial.mean for trial in found] == [pytest.approx(0.4), pytest.approx(0.2)]
    (alone,) = trials(records[:1], [entry()], ["arxiv"], 0.05, {"searched": []})
    assert "| searched | **its own** | **0.200** | 0.200 |" in table([alone], ["arxiv"], 0.05)
