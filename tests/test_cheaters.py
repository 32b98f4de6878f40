"""Nobody gets a good score by cheating: where each cheater of the gallery must land, on the published records of the shipped lab."""

from __future__ import annotations

from pathlib import Path

import pytest
from gallery import CHEATERS, HONEST, PLUGINS, RECORDS, ROOT, TASK, gallery

from benchmark import registry, store
from benchmark.leaderboard import Board, board
from benchmark.leaderboard.flags import DISQUALIFYING
from benchmark.leaderboard.markdown import table_text
from benchmark.leaderboard.rows import Row

METHODS = ("ascent-kl", "npo", "gradient-difference")
CONTROLS = ("random-pruning", "retain-finetuning")

LEFT_AT_THE_START = ("destroyed", "filter-nothing", "overshooting", "memoriser")
"""No step of theirs is within the budget and nearer to the reference than the untouched model is: what is left is that model."""

TAKEN_AWAY = {
    "filter": ("hidden", "taken_out"),
    "filter-masked": ("hidden", "taken_out"),
    "filter-unsure": ("hidden", "taken_out"),
    "half-windows": ("patchy", "window_nll"),
    "rounded": ("hidden", "quantised_int4"),
    "low-rank": ("hidden", "quantised_int4"),
    "copied": ("copied", "window_nll"),
}
"""By which flag and which metric."""

WITHIN_THE_NOISE = ("unsure",)
"""No more than what two honest trainings differ by, and no better than a control."""

REFUSED = ("filter-in-secret",)


@pytest.fixture(scope="module")
def built() -> Board:
    lab = {
        record.spec.method: record
        for record in store.read_all(ROOT / "results" / "lab")
        if record.spec.task == TASK and not record.spec.target_seed
    }
    beside = [lab[name] for name in ("original", "retrained", *METHODS, *CONTROLS)]
    own = [record for record in store.read_all(RECORDS) if record.spec.method in CHEATERS | HONEST]
    return board([*beside, *own])


def row(built: Board, name: str) -> Row:
    return next(ranked.row for ranked in built.tasks[0].rows if ranked.row.method == name)


def reasons(built: Board, name: str) -> tuple[str, ...]:
    panel = built.panel(TASK)
    assert panel is not None
    return panel.rows[row(built, name).label].reasons


def score(built: Board, name: str) -> float:
    counted = row(built, name).score
    assert counted is not None
    return counted.value


@pytest.mark.usefixtures("no_plugin_stays")
def test_the_records_are_of_the_cheaters_as_they_are() -> None:
    assert set(registry.load_plugin(PLUGINS)) == {*CHEATERS, *HONEST}
    records = {record.spec.method: record for record in store.read_all(RECORDS)}
    for name in CHEATERS | HONEST:
        assert records[name].spec.source == registry.method(name).source_hash()
        assert records[name].status == ("failed" if name in REFUSED else "ok")
        assert set(records[name].panel) == set(registry.metrics())


def test_every_cheater_has_its_place_here() -> None:
    assert {*LEFT_AT_THE_START, *TAKEN_AWAY, *WITHIN_THE_NOISE, *REFUSED} == set(CHEATERS)


@pytest.mark.parametrize("name", [name for name in CHEATERS if name not in REFUSED])
def test_none_is_above_an_honest_method_at_any_budget(built: Board, name: str) -> None:
    for index, point in enumerate(row(built, name).points):
        assert point.counted is not None
        for method in METHODS:
            honest = row(built, method).points[index].counted
            assert honest is not None
            assert point.counted.value < honest.value, (point.budget, method)
    ranks = {one.method: one.rank for one in built.overall if one.rank is not None}
    assert all(ranks[name].best >= ranks[method].best for method in METHODS)


@pytest.mark.parametrize("name", LEFT_AT_THE_START)
def test_whoever_wrecks_or_overshoots_is_left_with_the_untouched_model(built: Board, name: str) -> None:
    headline = row(built, name).headline
    assert headline is not None
    assert (headline.step, score(built, name)) == (0, 0)


@pytest.mark.parametrize(("name", "by"), TAKEN_AWAY.items())
def test_whoever_keeps_the_text_is_caught_and_loses_the_score(built: Board, name: str, by: tuple[str, str]) -> None:
    caught, found = row(built, name), reasons(built, name)
    assert caught.headline is not None
    assert caught.headline.score is not None
    assert caught.headline.score.value > 0.1  # it would have paid
    assert any(reason.startswith(f"{by[0]} ({by[1]})") for reason in found)
    assert (score(built, name), caught.headline.mark, caught.area) == (0, "§", None)
    assert all(point.mark == "§" for point in caught.points if point.step)


@pytest.mark.parametrize("name", [name for name in TAKEN_AWAY if name != "copied"])
def test_a_row_of_robustness_or_privacy_gives_it_away(built: Board, name: str) -> None:
    by = {reason.partition("(")[2].partition(")")[0] for reason in reasons(built, name)}
    assert any(registry.metric(metric).axis in ("robustness", "privacy") for metric in by & set(registry.metrics()))


@pytest.mark.parametrize("name", WITHIN_THE_NOISE)
def test_whoever_forgets_nothing_in_particular_is_no_better_than_a_control(built: Board, name: str) -> None:
    (task,) = built.tasks
    assert score(built, name) <= min(task.score_floor, max(score(built, control) for control in CONTROLS) + 0.01)


@pytest.mark.parametrize("name", REFUSED)
def test_a_module_in_secret_is_no_method(built: Board, name: str) -> None:
    refused = row(built, name)
    assert (refused.status, refused.score) == ("failed", None)
    assert "declares `inserts`" in (refused.reason or "")


@pytest.mark.parametrize("name", [*METHODS, *CONTROLS, *HONEST])
def test_nobody_honest_is_taken_for_a_cheater(built: Board, name: str) -> None:
    panel = built.panel(TASK)
    assert panel is not None
    flags = set(panel.rows[row(built, name).label].flags)
    assert not DISQUALIFYING & flags
    if name in HONEST:
        assert not flags
        assert score(built, name) > 0.9


def test_the_readme_shows_what_the_board_makes_of_them() -> None:
    shown = Path(ROOT / "README.md").read_text("utf-8").partition("<!-- cheaters -->\n")[2].partition("\n<!-- /cheaters -->")[0]
    assert shown == table_text(gallery()).strip()
