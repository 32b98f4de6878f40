"""From a command line to cells: what is parsed, what is refused, what a cell's key depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from records import record, spec

from benchmark import LanguageModel, Request, UnlearningMethod, register, registry, store
from benchmark.errors import InputError
from benchmark.loading import Loading
from benchmark.plan import Options, parse, plan
from benchmark.record import Protocol, Spec
from benchmark.runner import missing


@dataclass(frozen=True)
class Every(UnlearningMethod):
    """A field of every type."""

    count: int = 3
    rate: float = 0.5
    loud: bool = False
    kind: Literal["plain", "odd"] = "plain"
    name: str = "x"
    most: int | None = None
    mode: Literal["slow", "fast"] | None = None

    def __post_init__(self) -> None:
        if self.count > 100:
            raise ValueError(f"count must be at most 100, not {self.count}")

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        yield


@dataclass(frozen=True)
class Listing(UnlearningMethod):
    """A field that no record can hold."""

    sizes: Any = (1, 2)

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        yield


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch, tiny_lm: Callable[..., LanguageModel], tiny_corpus: Path) -> Options:
    registry.methods()
    monkeypatch.setattr(registry, "_methods", {})
    register("every")(Every)
    register("every-loud", loud=True)(Every)
    return Options(tasks=["books"], model=str(tiny_lm().folder), data=tiny_corpus)


def specs(options: Options) -> list[Spec]:
    return [cell.spec for cell in plan(options)[1]]


def fields(options: Options, *settings: str) -> dict[str, object]:
    """Hyper-parameters of `every`, as set."""
    return dict(specs(replace(options, methods=["every"], settings=settings))[-1].hyperparameters)


def complaint(options: Options) -> str:
    with pytest.raises(InputError) as caught:
        plan(options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_reference_rows_come_first_task_by_task(options: Options) -> None:
    found = [(spec.task, spec.method, spec.seed) for spec in specs(replace(options, tasks=["books", "arxiv-domain"], seeds=2))]
    rows = [("original", 0), ("retrained", 0), ("every", 0), ("every", 1), ("every-loud", 0), ("every-loud", 1)]
    assert found == [(task, *row) for task in ("books", "arxiv-domain") for row in rows]


def test_all_means_all_and_a_name_given_twice_counts_once(options: Options) -> None:
    assert len({spec.task for spec in specs(replace(options, tasks=["all"]))}) == 6
    assert [spec.method for spec in specs(replace(options, methods=["every", "every"]))] == ["original", "retrained", "every"]


def test_the_same_plan_twice(options: Options) -> None:
    assert plan(options) == plan(options)
    assert len({spec.key() for spec in specs(replace(options, tasks=["all"], seeds=3))}) == 6 * (2 + 2 * 3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("count=7", 7),
        ("count=-7", -7),
        ("rate=1e-5", 1e-5),
        ("rate=1", 1.0),
        ("loud=True", True),
        ("loud=false", False),
        ("kind=odd", "odd"),
        ("name=a=b.c", "a=b.c"),
        ("name=none", "none"),
        ("most=4", 4),
        ("most=None", None),
        ("mode=fast", "fast"),
    ],
)
def test_a_setting_is_of_its_field_s_type(options: Options, setting: str, value: object) -> None:
    found = fields(options, f"every.{setting}")[setting.partition("=")[0]]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("every.count=many", "--set every.count=many: expected a whole number"),
        ("every.count=1.5", "--set every.count=1.5: expected a whole number"),
        ("every.rate=fast", "--set every.rate=fast: expected a number"),
        ("every.loud=yes", "--set every.loud=yes: expected true or false"),
        ("every.kind=even", "--set every.kind=even: expected one of plain, odd"),
        ("every.mode=medium", "--set every.mode=medium: expected one of slow, fast"),
        ("every.most=x", "--set every.most=x: expected a whole number"),
        ("every.rate=nan", "method 'every': rate is nan; a hyper-parameter is a bool, a finite number, a string or None"),
        ("every.count=101", "--set every: count must be at most 100, not 101"),
        ("every.cuont=3", "unknown field of every 'cuont'; did you mean 'count'?"),
        ("evry.count=3", "unknown method in --set 'evry'; did you mean 'every'?"),
        ("every.count", "--set every.count: expected method.field=value, as in gradient-ascent.lr=1e-5"),
        ("count=3", "--set count=3: expected method.field=value, as in gradient-ascent.lr=1e-5"),
        ("", "--set : expected method.field=value, as in gradient-ascent.lr=1e-5"),
    ],
)
def test_a_bad_setting(options: Options, setting: str, said: str) -> None:
    assert complaint(replace(options, settings=[setting])) == said


def test_a_setting_of_a_method_that_is_not_asked_for(options: Options) -> None:
    assert "unknown method in --set 'every-loud'" in complaint(replace(options, methods=["every"], settings=["every-loud.count=1"]))


def test_a_setting_overrides_a_preset_and_the_last_one_stands(options: Options) -> None:
    def loud(*settings: str) -> object:
        return specs(replace(options, settings=settings))[-1].hyperparameters["loud"]

    assert (loud(), loud("every-loud.loud=false"), loud("every.loud=false")) == (True, False, True)
    assert fields(options, "every.count=1", "every.count=2")["count"] == 2


def test_parse_takes_text_as_it_is_where_the_type_is_unknown() -> None:
    assert parse(Any, "1", where="") == "1"


def test_a_field_that_no_record_can_hold(options: Options) -> None:
    register("listing")(Listing)
    assert complaint(options).startswith("method 'listing': sizes is (1, 2); a hyper-parameter is a bool, ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ["evry"]}, "unknown method 'evry'; did you mean 'every'?"),
        ({"tasks": ["boks"]}, "unknown task 'boks'; did you mean 'books'?"),
        ({"methods": []}, "--methods: no name given; name some, or all"),
        ({"tasks": []}, "--tasks: no name given; name some, or all"),
        ({"seeds": 0}, "--seeds 0: at least one seed is needed"),
        ({"model": "pythia-410"}, "unknown model 'pythia-410'; did you mean 'pythia-410m'?"),
        ({"loading": Loading(device="gpu")}, "device 'gpu' cannot be used: "),
    ],
)
def test_a_bad_option(options: Options, changes: dict[str, Any], said: str) -> None:
    assert complaint(replace(options, **changes)).startswith(said)


def test_the_key_changes_with_every_field() -> None:
    base = spec()
    others = [
        {"task": "books"},
        {"method": "descent"},
        {"source": "t" * 64},
        {"hyperparameters": {"lr": 2e-4}},
        {"hyperparameters": {"lr": 1e-4, "steps": 1}},
        {"seed": 1},
        {"model": "other"},
        {"target_seed": 1},
        {"model_fingerprint": "n" * 64},
        {"data_fingerprint": "e" * 64},
        {"dtype": "bfloat16"},
        {"setting": "implanted"},
        *({"protocol": Protocol(**change)} for change in ({"max_steps": 8}, {"growth": 2.0}, {"limit": 3}, {"budgets": (0.05,)})),
    ]
    assert {name for change in others for name in change} == set(Spec.model_fields)
    assert len({base.key(), *(base.model_copy(update=change).key() for change in others)}) == len(others) + 1


def test_the_key_is_stable() -> None:
    """Pinned: if this changes, every record is measured again."""
    protocol = Protocol(
        budgets=(0.01, 0.05, 0.20),
        max_steps=400,
        growth=1.2,
        method_tokens=131072,
        validation_tokens=8192,
        test_tokens=65536,
        limit=None,
        version=1,
    )
    assert spec(protocol=protocol).key() == "c5dbb254a2db75d5"
    assert spec(hyperparameters={"a": 1, "b": 2}).key() == spec(hyperparameters={"b": 2, "a": 1}).key()


def test_the_results_folder(options: Options, tmp_path: Path) -> None:
    name = Path(options.model).name
    assert plan(options)[0] == Path("results") / name
    assert plan(replace(options, variant="-quick"))[0] == Path("results") / f"{name}-quick"
    assert plan(replace(options, variant="-quick", out=tmp_path))[0] == tmp_path


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"protocol": Protocol(limit=3)}, "protocols"),
        ({"model_fingerprint": "n" * 64}, "models"),
        ({"data_fingerprint": "e" * 64}, "data for books"),
    ],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_with_records_of_another_kind_is_refused(
    options: Options, tmp_path: Path, changes: dict[str, Any], kind: str, fresh: bool
) -> None:
    cells = plan(options)[1]
    store.write(tmp_path, record(cells[0].spec.model_copy(update=changes)))
    with pytest.raises(InputError) as caught:
        missing(cells, tmp_path, fresh=fresh)
    message = str(caught.value)
    assert message.startswith(f"records of different {kind} cannot stand in one leaderboard: ")
    assert message.endswith(f"; {tmp_path} holds one kind already, name another folder with --out")


def test_other_tasks_methods_and_seeds_may_lie_in_one_folder(options: Options, tmp_path: Path) -> None:
    cells = plan(options)[1]
    for changes in ({"task": "arxiv", "data_fingerprint": "e" * 64}, {"method": "other"}, {"seed": 5}):
        store.write(tmp_path, record(cells[0].spec.model_copy(update=changes)))
    store.write(tmp_path, record(cells[2].spec))
    store.write(tmp_path, record(cells[3].spec, status="failed", reason="out of memory"))
    assert missing(cells, tmp_path) == cells[:2]
    assert missing(cells, tmp_path, retry_failed=True) == [*cells[:2], cells[3]]
    assert missing(cells, tmp_path, fresh=True) == cells
