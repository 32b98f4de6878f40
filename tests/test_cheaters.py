"""Nobody gets a good score by cheating: where each cheater of the gallery must land, on the published records of the shipped lab."""

from __future__ import annotations

from pathlib import Path

import pytest
from gallery import CHEATERS, PLUGINS, RECORDS, ROOT, TASK, gallery

from benchmark import registry, store
from benchmark.leaderboard import Board, board
from benchmark.leaderboard.markdown import table_text
from benchmark.leaderboard.rows import Row

HONEST = ("ascent-kl", "npo", "gradient-difference")
CONTROLS = ("random-pruning", "retain-finetuning")

LEFT_AT_THE_START = ("destroyed", "filter-nothing", "overshooting")
"""No step of theirs is within the budget and nearer to the reference than the untouched model is: what is left is that model."""

TAKEN_AWAY = {
    "filter": ("hidden", "logit_lens"),
    "filter-unsure": ("pretended", "exact_memorization"),
    "rounded": ("hidden", "quantised_int4"),
}
"""By which flag and which metric."""

WITHIN_THE_FLOOR = ("unsure",)
"""What they score is no more than two honest trainings are apart: it claims nothing that could be pretended."""

NO_BETTER_THAN_CONTROLS = ("memoriser",)


@pytest.fixture(scope="module")
def built() -> Board:
    lab = {
        record.spec.method: record
        for record in store.read_all(ROOT / "results" / "lab")
        if record.spec.task == TASK and not record.spec.target_seed
    }
    beside = [lab[name] for name in ("original", "retrained", *HONEST, *CONTROLS)]
    own = [record for record in store.read_all(RECORDS) if record.spec.method in CHEATERS]
    return board([*beside, *own])


def row(built: Board, name: str) -> Row:
    return next(ranked.row for ranked in built.tasks[0].rows if ranked.row.label == name)


def score(built: Board, name: str) -> float:
    counted = row(built, name).score
    assert counted is not None
    return counted.value


@pytest.mark.usefixtures("no_plugin_stays")
def test_the_records_are_of_the_cheaters_as_they_are() -> None:
    assert set(registry.load_plugin(PLUGINS)) == set(CHEATERS)
    records = {record.spec.method: record for record in store.read_all(RECORDS)}
    for name in CHEATERS:
        assert records[name].spec.source == registry.method(name).source_hash()
        assert records[name].status == "ok"
        assert set(records[name].panel) == set(registry.metrics())


def test_every_cheater_has_its_place_here() -> None:
    assert {*LEFT_AT_THE_START, *TAKEN_AWAY, *WITHIN_THE_FLOOR, *NO_BETTER_THAN_CONTROLS} == set(CHEATERS)


@pytest.mark.parametrize("name", CHEATERS)
def test_none_is_above_an_honest_method(built: Board, name: str) -> None:
    assert all(score(built, name) < score(built, honest) for honest in HONEST)
    ranks = {one.label: one.rank for one in built.overall if one.rank is not None}
    assert all(ranks[name].best > ranks[honest].best for honest in HONEST)


@pytest.mark.parametrize("name", LEFT_AT_THE_START)
def test_whoever_wrecks_or_overshoots_is_left_with_the_untouched_model(built: Board, name: str) -> None:
    headline = row(built, name).headline
    assert headline is not None
    assert (headline.step, score(built, name)) == (0, 0)


@pytest.mark.parametrize(("name", "by"), TAKEN_AWAY.items())
def test_whoever_hides_the_text_is_caught_and_loses_the_score(built: Board, name: str, by: tuple[str, str]) -> None:
    panel, headline = built.panel(TASK), row(built, name).headline
    assert panel is not None
    assert headline is not None
    assert headline.score is not None
    assert headline.score.value > 0.05  # it would have paid
    assert by[0] in panel.rows[name].flags
    assert any(reason.startswith(f"{by[0]} ({by[1]})") for reason in panel.rows[name].reasons)
    assert (score(built, name), headline.mark) == (0, "§")
    caught = row(built, name)
    assert all((point.mark, point.counted.value) == ("§", 0) for point in caught.points if point.step and point.counted)
    assert caught.area is None


@pytest.mark.parametrize("name", WITHIN_THE_FLOOR)
def test_whoever_scores_within_the_noise_floor_is_not_told_from_nothing(built: Board, name: str) -> None:
    assert 0 < score(built, name) <= built.tasks[0].score_floor


@pytest.mark.parametrize("name", NO_BETTER_THAN_CONTROLS)
def test_whoever_forgets_nothing_in_particular_is_no_better_than_a_control(built: Board, name: str) -> None:
    assert score(built, name) <= max(score(built, control) for control in CONTROLS) + 0.05


@pytest.mark.parametrize("name", [*HONEST, *CONTROLS])
def test_nobody_honest_is_taken_for_a_cheater(built: Board, name: str) -> None:
    panel = built.panel(TASK)
    assert panel is not None
    assert not {"hidden", "pretended"} & set(panel.rows[name].flags)


def test_the_readme_shows_what_the_board_makes_of_them() -> None:
    shown = Path(ROOT / "README.md").read_text("utf-8").partition("<!-- cheaters -->\n")[2].partition("\n<!-- /cheaters -->")[0]
    assert shown == table_text(gallery()).strip()
