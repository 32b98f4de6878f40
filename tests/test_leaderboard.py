"""The leaderboard as a pure function of records: order, ranks, what is not averaged and what is not published."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest
from records import Removes, documents, environment, original, record, retrained, spec, suite

from benchmark.chance import estimate
from benchmark.comparison import Rank
from benchmark.errors import InputError
from benchmark.leaderboard import Board, Row, board, rows
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.markdown import markdown
from benchmark.leaderboard.task_table import TaskTable
from benchmark.panel.membership import auc_interval
from benchmark.record import Cost, Protocol, Record, Setting, TextOrigin
from benchmark.scores import SeedCell

HALF = ((0.01, 0.2), (0.04, 0.5))


def places(table: TaskTable) -> list[tuple[int | None, str]]:
    return [(ranked.rank and ranked.rank.best, ranked.row.label) for ranked in table.rows]


def overall_places(built: Board) -> list[tuple[int | None, str]]:
    return [(row.rank and row.rank.best, row.label) for row in built.overall]


def row_of(records: Sequence[Record], label: str) -> Row:
    return next(row for row in rows(records) if row.label == label)


def test_the_same_records_give_the_same_board_in_any_order() -> None:
    records = suite()
    built = board(records)
    for seed in range(3):
        shuffled = records.copy()
        random.Random(seed).shuffle(shuffled)
        assert board(shuffled) == built


def test_no_records_is_told() -> None:
    with pytest.raises(InputError, match="no records"):
        board([])


def test_a_row_holds_what_the_record_says() -> None:
    cell = record(spec(), HALF, flops=10**9)
    row = row_of([cell], "ascent")
    assert row.headline is not None
    assert row.headline.score is not None
    assert row.headline.score.value == pytest.approx(0.5)
    judged = cell.baseline
    assert judged is not None
    test = cell.operating_points[1].test
    assert row.headline.score == estimate([[SeedCell(0, 0, test["forget"], judged.target_test["forget"], judged.reference_test["forget"])]])
    assert row.headline.damage == pytest.approx(0.04)
    assert [point.step for point in row.points] == [1, 2, 2]
    assert row.divergence == pytest.approx(0.05)
    assert row.area == pytest.approx((0.2 * 0.03 + 0.5 * 0.16) / 0.2)
    assert row.top1["retain"] == 0.5
    assert row.max_difference is None
    assert row.expense is not None
    assert row.expense.flops == 2 * 10**9
    assert row.expense.retraining_flops == 31e12
    assert row.keys == (cell.spec.key(),)


def test_max_difference_is_for_domain_tasks() -> None:
    row = row_of([record(spec(task="arxiv-domain"), HALF, removes="domain")], "ascent")
    assert row.max_difference == pytest.approx(0.4 * 0.5 - 0.04)


def test_references_come_first_and_methods_by_score() -> None:
    table = board(suite()).tasks[0]
    assert places(table) == [
        (None, "retrained"),
        (None, "original"),
        (1, "gradient-difference"),
        (2, "fragile"),
        (3, "gradient-ascent"),
        (3, "selective-pruning"),
        (5, "random-pruning"),
        (6, "wrecking"),
    ]


def test_methods_that_cannot_be_told_apart_share_a_rank() -> None:
    """The noise floor is 0.05 of the gap: however certain, a smaller difference is none."""
    cells = [
        record(spec("dear"), ((0.04, 0.50),), flops=10**12),
        record(spec("cheap"), ((0.04, 0.50),), flops=10**9),
        record(spec("near"), ((0.04, 0.46),)),
        record(spec("between"), ((0.04, 0.42),)),
        record(spec("last"), ((0.04, 0.1),)),
    ]
    built = board([original(), *cells])
    expected = [(None, "original"), (1, "cheap"), (1, "dear"), (1, "near"), (3, "between"), (5, "last")]
    assert places(built.tasks[0]) == expected
    assert overall_places(built) == expected
    assert [row.rank and row.rank.worst for row in built.overall] == [None, 3, 3, 4, 4, 5]
    assert built.score_floor == built.tasks[0].score_floor == pytest.approx(0.05)
    told = {frozenset((each.first, each.second)): each for each in built.comparisons}
    assert len(told) == 10
    assert abs(told[frozenset(("cheap", "between"))].difference) == pytest.approx(0.08)
    assert told[frozenset(("cheap", "near"))].adjusted_p < 0.05
    assert not told[frozenset(("cheap", "near"))].told_apart


def test_a_missing_cell_is_never_averaged_over() -> None:
    built = board(suite())
    fragile = next(row for row in built.overall if row.label == "fragile")
    assert fragile.scores["arxiv"] == pytest.approx(0.5)
    assert fragile.scores["books"] is None
    assert fragile.mean is None
    assert fragile.documents_mean is None
    assert fragile.flops is None
    assert fragile.domain_mean == pytest.approx(0.5)
    assert fragile.rank is None
    assert fragile.missing == "books: failed"
    assert built.overall[-1] == fragile


def test_the_legend_of_the_js_distance_says_what_doing_nothing_has() -> None:
    untouched = original().model_copy(
        update={
            "operating_points": tuple(point.model_copy(update={"divergence": {"forget": 0.1684}}) for point in original().operating_points)
        }
    )
    with_original, without = (board([*first, retrained(), record(spec())]) for first in ([untouched], []))
    facts = [next(dict(section.facts) for section in sections(built) if section.title == "arxiv") for built in (with_original, without)]
    assert facts[0]["JS distance"].endswith("Only values below that of `original`, 0.168 here, say anything.")
    assert facts[1]["JS distance"].endswith("Only values below that of `original` say anything.")
    unmeasured = board([original(kind="approximate"), record(spec(), kind="approximate")])
    assert all("JS distance" not in dict(section.facts) for section in sections(unmeasured) if section.title == "arxiv")


def test_a_task_that_was_not_run_is_a_missing_cell() -> None:
    built = board([original(), original("books"), record(spec("both")), record(spec("both", "books")), record(spec("one"), ((0.04, 0.9),))])
    assert overall_places(built) == [(None, "original"), (1, "both"), (None, "one")]
    assert built.overall[-1].missing == "books: no record"


def test_the_overall_mean_is_that_of_the_tasks() -> None:
    best = next(row for row in board(suite()).overall if row.rank == Rank(1, 1))
    values = [best.scores[task] or 0.0 for task in ("arxiv", "books", "books-domain")]
    assert best.mean is not None
    assert best.mean.value == pytest.approx(sum(values) / 3)
    assert best.documents_mean == pytest.approx(sum(values[:2]) / 2)
    assert best.domain_mean == pytest.approx(values[2])


@pytest.mark.parametrize("status", ["failed", "declined", "diverged"])
def test_what_did_not_run_through_is_shown_with_its_reason_and_not_ranked(status: str) -> None:
    cell = record(spec("broken"), status=status, reason="the reason")  # type: ignore[arg-type]
    table = board([original(), record(spec()), cell]).tasks[0]
    assert places(table) == [(None, "original"), (1, "ascent"), (None, "broken")]
    row = table.rows[-1].row
    assert (row.status, row.reason, row.points, row.expense) == (status, "the reason", (), None)


def test_a_task_in_which_everything_failed_still_has_a_table() -> None:
    cell = record(spec(), status="failed", reason="no memory")
    table = board([cell]).tasks[0]
    assert table.reference_kind is None
    assert table.unscored == "nothing could be measured"
    assert table.rows[0].row.reason == "no memory"


def moved(cell: Record, nll: float) -> Record:
    """The same with another forget NLL on test."""
    points = tuple(point.model_copy(update={"test": point.test | {"forget": documents("forget", nll)}}) for point in cell.operating_points)
    return cell.model_copy(update={"operating_points": points})


def test_a_destroyed_model_ranks_below_the_untouched_one() -> None:
    wrecked = moved(record(spec("wrecking")), 9.0)
    built = board([original(), record(spec("idle"), ()), wrecked])
    assert places(built.tasks[0]) == [(None, "original"), (1, "idle"), (2, "wrecking")]
    headline = built.tasks[0].rows[-1].row.headline
    assert headline is not None
    assert headline.score is not None
    assert headline.score.value == pytest.approx(-5)


@pytest.mark.parametrize("misplaced", [moved(original(), 2.001), moved(retrained(), 2.9)], ids=["original", "retrained"])
def test_a_table_with_a_misplaced_reference_row_is_not_published(misplaced: Record) -> None:
    with pytest.raises(InputError, match=rf"{misplaced.spec.method} has a forget score of .* nothing is published"):
        board([misplaced, record(spec())])


def test_an_approximate_reference_has_no_retrained_row() -> None:
    cells = [original(kind="approximate"), retrained(kind="approximate"), record(spec(), kind="approximate")]
    table = board(cells).tasks[0]
    assert places(table) == [(None, "retrained"), (None, "original"), (1, "ascent")]
    assert table.rows[0].row.status == "declined"
    assert table.rows[2].row.divergence is None


def test_a_task_without_a_reference_has_no_scores_and_does_not_count() -> None:
    built = board(suite("none"))
    table = built.tasks[-1]
    assert table.task == "books-domain"
    assert table.unscored is not None
    assert not table.gaps
    assert all(ranked.rank is None for ranked in table.rows)
    assert all(ranked.row.headline is None or ranked.row.headline.score is None for ranked in table.rows)
    best = next(row for row in built.overall if row.rank == Rank(1, 1))
    assert list(best.scores) == ["arxiv", "books"]
    assert best.mean is not None
    assert best.mean.value == best.documents_mean
    assert best.domain_mean is None
    assert best.max_difference is not None


def test_a_gap_within_the_noise_gives_no_scores_and_says_why() -> None:
    near = {"forget": 2.04, "retain": 3.0, "holdout": 3.5, "general": 2.5}
    table = board([record(spec(), HALF, reference=near)]).tasks[0]
    assert table.unscored is not None
    assert "noise floor of 0.050" in table.unscored
    assert table.rows[0].rank is None


def test_a_task_without_an_exact_reference_says_how_well_its_members_are_told_apart() -> None:
    table = board([original(kind="approximate"), record(spec(), HALF, kind="approximate")]).tasks[0]
    assert table.membership == (1.0, *auc_interval(1.0, 12, 12))  # every holdout document is far above every forget document
    assert board(suite()).tasks[0].membership is None


@pytest.mark.parametrize(("setting", "when"), [("pretrained", ""), ("implanted", ", before it was taught here")])
def test_a_task_says_where_its_text_is_from_and_who_has_seen_it(setting: Setting, when: str) -> None:
    text = TextOrigin(
        source="org/texts at 0123",
        membership={"forget": "known member", "retain": "known member", "holdout": "known non-member"},
        remarks=("excerpts of few books",),
    )
    made = [entry.model_copy(update={"text": text, "spec": entry.spec.model_copy(update={"setting": setting})}) for entry in suite()]
    told = markdown("lab", sections(board(made)))
    assert (
        f"**Text**: org/texts at 0123. In the model's training data{when}: forget, retain: known member; holdout: known non-member."
        " Excerpts of few books.\n"
    ) in told
    assert "**Text**" not in markdown("lab", sections(board(suite()))), "records made before it was told"


def test_a_gap_that_cannot_be_told_from_zero_is_said_to_be_so_and_not_scored() -> None:
    near = {"forget": 2.02, "retain": 3.0, "holdout": 3.5, "general": 2.5}
    built = board([record(spec(), HALF, kind="approximate", reference=near)])
    (table,) = built.tasks
    gap = r"0\.020 \[-0\.\d+, 0\.\d+\]"
    told = rf"the gap between target and reference on the forget set \({gap} on validation, {gap} on test, nats a token\)"
    assert re.fullmatch(f"{told} cannot be told from zero", table.unscored or "")
    text = markdown(built.model, sections(built))
    assert f"- **No score on arxiv**: {table.unscored}." in text
    assert "an AUC of 1.00 [0.83, 1.00] on the test half; 0.5 is chance" in text
    assert all(ranked.row.headline is None or ranked.row.headline.score is None for ranked in table.rows)


def test_a_target_that_finds_the_forget_set_harder_has_nothing_to_forget() -> None:
    easier = {"forget": 1.0, "retain": 3.0, "holdout": 3.5, "general": 2.5}
    table = board([record(spec(), HALF, kind="approximate", reference=easier)]).tasks[0]
    assert table.unscored is not None
    assert table.unscored.startswith("the target finds the forget set harder than the reference does (gap -1.000 [")


def test_seeds_are_averaged_with_a_nested_interval() -> None:
    cells = [record(spec(seed=seed), ((0.02, forgetting),)) for seed, forgetting in enumerate((0.3, 0.5, 0.7))]
    summed = rows(cells)
    assert len(summed) == 1
    assert summed[0].seeds == (0, 1, 2)
    assert summed[0].headline is not None
    assert summed[0].headline.score is not None
    assert summed[0].headline.score.value == pytest.approx(0.5)
    assert summed[0].headline.score.low < 0.4 < 0.6 < summed[0].headline.score.high
    assert len(summed[0].curves) == 3


def test_one_failed_seed_fails_the_row() -> None:
    cells = [record(spec()), record(spec(seed=1), status="failed", reason="NaN")]
    row = rows(cells)[0]
    assert (row.status, row.reason, row.points) == ("failed", "seed 1: NaN", ())


def test_hyperparameters_that_differ_make_rows_of_their_own() -> None:
    cells = [record(spec(hyperparameters={"lr": lr, "weight": 2.0})) for lr in (1e-4, 1e-5)]
    assert {row.label for row in rows(cells)} == {"ascent (lr=0.0001)", "ascent (lr=1e-05)"}
    assert rows(cells[:1])[0].label == "ascent"


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (record(spec("other", model_fingerprint="n" * 64)), "models"),
        (record(spec("other", data_fingerprint="e" * 64)), "data for arxiv"),
        (record(spec("other", protocol=Protocol(max_steps=10))), "protocols"),
    ],
)
def test_records_that_cannot_be_compared_are_refused_by_name(other: Record, what: str) -> None:
    with pytest.raises(InputError, match=f"different {what} cannot stand in one leaderboard") as caught:
        board([record(spec()), record(spec("third")), other])
    assert f"arxiv--other--{other.spec.key()}" in str(caught.value)
    assert "folder of its own" in str(caught.value)


def test_only_the_newest_version_of_a_method_stands() -> None:
    old = record(spec(source="a" * 64), ((0.02, 0.1),))
    new = record(spec(source="b" * 64), ((0.02, 0.3),), made=environment("2026-02-01T00:00:00+00:00"))
    built = board([new, old])
    assert built.superseded == 1
    assert built.records == 1
    assert built.tasks[0].rows[0].row.keys == (new.spec.key(),)


def test_hardware_is_listed_once_each() -> None:
    made = [environment("2026-01-02T00:00:00+00:00"), environment(), environment(processor="Other CPU")]
    built = board([record(spec(f"method-{index}"), made=each) for index, each in enumerate(made)])
    assert [each.processor for each in built.environments] == ["Other CPU", "Some CPU"]


def test_prepared_work_is_counted_once() -> None:
    tasks: tuple[tuple[str, Removes], ...] = (("arxiv", "documents"), ("books", "documents"))
    prepare = Cost(flops=7 * 10**9, seconds=3.0)
    built = board([record(spec(task=task), removes=removes, prepare=prepare, flops=10**9) for task, removes in tasks])
    assert built.overall[0].prepare_flops == 7e9
    assert built.overall[0].flops == 2 * 2e9


def test_an_ok_record_without_operating_points_is_refused() -> None:
    with pytest.raises(InputError, match="lacks its operating points"):
        board([record(spec()).model_copy(update={"operating_points": ()})])
