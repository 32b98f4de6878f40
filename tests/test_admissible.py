"""Points that do more harm on test than they may: marked, and beyond twice the budget not counted."""

from __future__ import annotations

import csv
import io
import math

import pytest
from panels import scored, with_panels
from records import documents, harmed, original, record, spec

from benchmark.chance import estimate
from benchmark.leaderboard import Row, board, rows
from benchmark.leaderboard.admissible import counted, mark
from benchmark.leaderboard.document import overall_table, sections
from benchmark.leaderboard.export import to_csv
from benchmark.leaderboard.markdown import markdown
from benchmark.record import Record
from benchmark.scores import Interval, SeedCell


def bold(damage: float, forgetting: float = 0.9, task: str = "arxiv", seed: int = 0) -> Record:
    return harmed(record(spec("bold", task, seed=seed), ((0.04, forgetting),)), damage)


def row_of(*cells: Record) -> Row:
    (row,) = rows(cells)
    return row


@pytest.mark.parametrize(
    ("damage", "expected"), [(0.0, ""), (0.05, ""), (0.0501, "†"), (0.1, "†"), (0.1001, "‡"), (math.inf, "‡")], ids=lambda value: str(value)
)
def test_marks_by_hand(damage: float, expected: str) -> None:
    assert mark(damage, 0.05) == expected


def test_up_to_twice_the_budget_a_score_is_marked_and_counts() -> None:
    row = row_of(bold(0.09))
    assert row.headline is not None
    assert (row.headline.mark, row.headline.counted) == ("†", row.headline.score)
    assert row.score is not None
    assert row.score.value == pytest.approx(0.9)


def test_beyond_that_it_is_shown_and_counts_as_nothing_done() -> None:
    row = row_of(bold(0.11))
    assert row.headline is not None
    assert row.headline.mark == "‡"
    assert row.headline.score is not None
    assert row.headline.score.value == pytest.approx(0.9)
    assert row.score == row.headline.counted == Interval(0, 0, 0)
    assert row.headline.largest_damage == pytest.approx(0.11)


def test_harm_is_no_way_out_of_a_score_below_zero() -> None:
    """Forgetting far past the reference scores -1.5; were it to count as 0, wrecking the model as well would pay."""
    row = row_of(harmed(record(spec("bold"), ((0.04, 0.5),)), 3.0, forgetting=3.5))
    assert row.headline is not None
    assert row.headline.mark == "‡"
    assert row.score is not None
    assert row.score.value == pytest.approx(-1.5)


@pytest.mark.parametrize("score", [-2.0, -0.1, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("damage", [0.0, 0.049, 0.051, 0.099, 0.101, 5.0])
def test_more_damage_never_counts_for_more(score: float, damage: float) -> None:
    cell = SeedCell(0, 0, documents("forget", 3.0 - abs(score - 1)), documents("forget", 2.0), documents("forget", 3.0))
    values = [estimate([[counted(cell, more, 0.05)]]).value for more in (damage, damage + 0.01, damage + 0.06, damage + 1)]
    assert values == sorted(values, reverse=True)
    assert values[0] <= cell.score + 1e-12


def test_runs_count_one_by_one() -> None:
    row = row_of(bold(0.04, seed=0), bold(0.5, seed=1))
    assert row.headline is not None
    assert row.headline.mark == "‡"
    assert row.headline.score is not None
    assert row.headline.score.value == pytest.approx(0.9)
    assert row.score is not None
    assert row.score.value == pytest.approx(0.45)
    assert row.score == estimate([row.cells])


def test_the_board_ranks_by_what_counts_and_marks_what_does_not() -> None:
    steady = [record(spec("steady", task), ((0.04, 0.5),)) for task in ("arxiv", "books")]
    built = board([original(), original("books"), *steady, bold(0.3), bold(0.07, task="books")])
    assert [row.label for row in built.overall] == ["original", "steady", "bold"]
    bold_row = built.overall[-1]
    assert bold_row.mean is not None
    assert bold_row.mean.value == pytest.approx(0.45)
    assert (bold_row.marks, bold_row.mark) == ({"arxiv": "‡", "books": "†"}, "‡")
    table = overall_table(built)
    shown = dict(zip(table.header, table.rows[-1], strict=True))
    assert (shown["arxiv"], shown["books"]) == ("0.00‡", "0.90†")
    assert shown["mean score"].endswith("]‡")
    text = markdown(built.model, sections(built))
    assert "more than 2 times the budget" in text
    assert f"| 0.90 [{built.tasks[0].rows[-1].row.points[1].score.low:.2f}, " in text  # type: ignore[union-attr]
    assert "]‡ |" in text.split("## arxiv\n")[1]


def test_the_csv_has_both_numbers() -> None:
    (line,) = csv.DictReader(io.StringIO(to_csv(board([bold(0.11)]))))
    assert float(line["forget_score_at_5_percent"]) == pytest.approx(0.9)
    assert float(line["forget_score_counted_at_5_percent"]) == 0
    assert float(line["utility_damage_largest_at_5_percent"]) == pytest.approx(0.11)


def hiding(task: str = "arxiv", seed: int = 0, panel: bool = True) -> Record:
    made = record(spec("hiding", task, target_seed=seed), ((0.01, 0.9),))
    panels = ({"quantised_int4": scored(of)} for of in (-0.02, -0.01, 0.2))
    return with_panels(made, *panels) if panel else made


def test_a_point_that_hides_the_text_is_shown_and_counts_as_nothing_done() -> None:
    row = row_of(hiding())
    assert row.headline is not None
    assert row.headline.mark == "§"
    assert row.headline.score is not None
    assert row.headline.score.value == pytest.approx(0.9)
    assert row.score == Interval(0, 0, 0)
    assert [point.mark for point in row.points] == ["§", "§", "§"]  # elsewhere nothing was looked at, and nothing is believed
    assert [point.counted for point in row.points] == [Interval(0, 0, 0)] * 3
    assert row.area is None


def test_a_point_that_is_no_step_hides_nothing() -> None:
    made = record(spec("hiding"), ((0.03, 0.9),))  # nothing is within 1 %
    panels = [{"quantised_int4": scored(of)} for of in (-0.02, -0.01, 0.2)]
    assert [point.mark for point in row_of(with_panels(made, *panels)).points] == ["", "§", "§"]
    idle = record(spec("hiding"), ((0.1, 0.9),))  # nor 5 %: what would be caught there is the target
    row = row_of(with_panels(idle, *panels))
    assert [point.mark for point in row.points] == ["", "", ""]
    assert row.area is not None


def test_a_caught_method_scores_below_zero_where_it_does() -> None:
    row = row_of(hiding(), harmed(hiding(seed=1), 0.0, forgetting=3.5))
    assert row.headline is not None
    assert row.headline.counted is not None
    assert row.headline.counted.value == pytest.approx((0 - 1.5) / 2)


def test_a_method_caught_with_one_target_is_not_believed_with_another() -> None:
    row = row_of(hiding(), hiding(seed=1, panel=False))
    assert row.score == Interval(0, 0, 0)


def test_a_run_that_was_looked_into_and_not_caught_is_believed() -> None:
    panels = ({"quantised_int4": scored(of)} for of in (-0.02, -0.01, -0.01))
    honest = with_panels(record(spec("hiding", target_seed=1), ((0.01, 0.9),)), *panels)
    row = row_of(hiding(), honest)
    assert row.headline is not None
    assert row.headline.mark == "§"
    assert row.score is not None
    assert row.score.value == pytest.approx((0 + 0.9) / 2)
    assert row.area is None


def test_hiding_a_score_below_zero_does_not_pay() -> None:
    cell = SeedCell(0, 0, documents("forget", 4.5), documents("forget", 2.0), documents("forget", 3.0))
    assert counted(cell, 0.0, 0.05, hiding=True) == cell
