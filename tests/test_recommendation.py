"""What is recommended for a removal request, and what is said of it: from synthetic records."""

from __future__ import annotations

import pytest
from panels import scored, with_panels
from records import Kind, harmed, measurement, moved, original, record, retrained, spec

from benchmark import scores
from benchmark.leaderboard.advice import advice, advice_section
from benchmark.leaderboard.recommendation import Recommendation, recommend
from benchmark.record import Record, Requested

GIVEN = ("forget", "retain", "holdout")


def requested(*given: str) -> Requested:
    return Requested(
        forget_sha256="f" * 64,
        documents=dict.fromkeys(given, 1),
        pieces=dict.fromkeys(given, 24),
        characters=dict.fromkeys(given, 24_000),
        piece_length=1000,
    )


def asked(
    methods: dict[str, tuple[tuple[float, float], ...]], kind: Kind = "approximate", given: tuple[str, ...] = GIVEN, inserts: str = ""
) -> list[Record]:
    """The records of a request."""
    task = "request"
    made = [original(task, kind), retrained(task, kind)]
    made += [record(spec(method, task), path, kind=kind) for method, path in methods.items()]
    return [
        each.model_copy(update={"requested": requested(*given), "inserts": each.spec.method == inserts and each.spec.method != "original"})
        for each in made
    ]


def recommended(*arguments: object, **options: object) -> Recommendation:
    found = recommend(asked(*arguments, **options))  # type: ignore[arg-type]
    assert found is not None
    return found


GOOD = {"ascent": ((0.01, 0.3), (0.04, 0.5), (0.3, 0.9)), "pruning": ((0.02, 0.2), (0.1, 0.8)), "codebook": ((0.02, 0.7),)}


def test_the_best_inside_the_headline_budget_is_recommended() -> None:
    told = recommended(GOOD)
    assert [candidate.row.method for candidate in told.candidates] == ["codebook", "ascent", "pruning"]
    assert told.chosen is not None
    assert (told.chosen.row.method, told.chosen.place, told.chosen.step) == ("codebook", 1, 1)
    assert told.chosen.merit.value == pytest.approx(0.7)
    assert told.elsewhere[0][:2] == (0.01, "ascent")
    assert told.elsewhere[1][:2] == (0.2, "pruning")


@pytest.mark.parametrize("kind", ["approximate", "none"])
def test_what_is_far_above_the_budget_on_test_is_not_recommended(kind: Kind) -> None:
    """With a forget score and without: it counts as nothing forgotten."""
    records = asked(GOOD, kind)
    told = recommend([harmed(each, 0.2) if each.spec.method == "codebook" else each for each in records])
    assert told is not None
    assert told.chosen is not None
    assert told.chosen.row.method == "ascent"
    assert (told.candidates[-1].row.method, told.candidates[-1].merit) == ("codebook", (0, 0, 0))
    assert told.candidates[-1].damage == pytest.approx(0.2)


@pytest.mark.parametrize("unscored", [False, True])
def test_what_hides_the_text_is_recommended_at_no_budget(unscored: bool) -> None:
    """By forget scores, and where target and reference are too near for them by what is lost in first guesses."""
    near = {"forget": 2.0, "retain": 3.0, "holdout": 3.5, "general": 2.5} if unscored else None
    made = [
        record(spec(method, "request"), path, kind="approximate", reference=near) for method, path in GOOD.items() if method != "ascent"
    ]
    panels = [{"quantised_int4": scored(of)} for of in (-0.02, -0.01, 0.2)]
    told = recommend(
        (with_panels(each, *panels) if each.spec.method == "codebook" else each).model_copy(update={"requested": requested(*GIVEN)})
        for each in made
    )
    assert told is not None
    assert (told.unscored is not None) == unscored
    assert told.chosen is not None
    assert told.chosen.row.method == "pruning"
    assert told.candidates[-1].merit == (0, 0, 0)
    assert told.elsewhere[1][:2] == (0.2, "pruning")


def test_methods_that_cannot_be_told_apart_share_a_place() -> None:
    told = recommended({"one": ((0.02, 0.5),), "two": ((0.02, 0.5),), "far": ((0.02, 0.1),)})
    assert [(candidate.row.method, candidate.place) for candidate in told.candidates] == [("one", 1), ("two", 1), ("far", 3)]


def test_a_method_that_leaves_a_module_behind_is_passed_over_with_a_word() -> None:
    told = recommended(GOOD, inserts="codebook")
    assert told.chosen is not None
    assert told.chosen.row.method == "ascent"
    assert [candidate.row.method for candidate in told.passed_over] == ["codebook"]
    assert dict(advice(told))["Passed over"].startswith("codebook (0.70): by leaving a module")


def test_what_cannot_be_told_from_nothing_is_not_recommended() -> None:
    told = recommended({"idle": ((0.01, 0.001),), "wrecking": ((0.5, 3.0),)})
    assert told.chosen is None
    verdict = dict(advice(told))["Recommended"]
    assert verdict.startswith("nothing: none of 2 methods that can be handed over can be told from doing nothing at 5 % utility damage")


def test_without_a_score_the_order_is_by_accuracy_lost_and_it_is_said() -> None:
    told = recommended(GOOD, kind="none", given=("forget", "retain"))
    assert told.unscored is not None
    assert told.chosen is not None
    point = measurement(moved(0.7, 0.02), 0.36)
    assert told.chosen.merit == scores.selective_drop(point, told.baseline.target_test)
    facts = dict(advice(told))
    assert "no forget score: no holdout text was given (`--holdout`" in facts["It rests on"]
    assert "How much of the way to never seen that is, cannot be said." in facts["It forgets"]
    assert advice_section(told).tables[0].header[2] == "top-1 drop"


def test_what_general_text_in_place_of_retain_text_costs_is_said_with_its_figure() -> None:
    facts = dict(advice(recommended(GOOD, given=("forget", "holdout"))))
    assert "what was lost on text like the forget set is not within the budget" in facts["No retain text"]
    assert "On the holdout set, which is like it, perplexity changed by +0.0 %" in facts["No retain text"]
    assert "No retain text" not in dict(advice(recommended(GOOD)))


def test_other_records_give_no_recommendation() -> None:
    assert recommend([original(), record(spec())]) is None


def test_the_difference_and_its_interval() -> None:
    before, after = measurement({"forget": 2.0, "retain": 3.0}), measurement({"forget": 2.5, "retain": 3.0}, forget_top1=0.4)
    found = scores.selective_drop(after, before)
    assert found.value == pytest.approx(0.2)
    assert found.low <= found.value <= found.high
    gained = after | {"retain": measurement({"retain": 3.0})["retain"].model_copy(update={"correct": (60,) * 12})}
    assert scores.selective_drop(gained, before).value == pytest.approx(0.2), "accuracy gained elsewhere is no forgetting"
    lost = after | {"retain": measurement({"retain": 3.0})["retain"].model_copy(update={"correct": (45,) * 12})}
    assert scores.selective_drop(lost, before).value == pytest.approx(0.1)


def test_advice_on_nothing_but_failures() -> None:
    failed = asked({"ascent": GOOD["ascent"]})
    failed[-1] = record(spec("ascent", "request"), kind="approximate", status="diverged", reason="nan").model_copy(
        update={"requested": requested(*GIVEN)}
    )
    told = recommend(failed)
    assert told is not None
    assert dict(advice(told))["Recommended"] == "nothing: no method gave a result (1 more gave no result)."
