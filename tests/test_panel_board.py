"""The panel on the board: raw values task by task, distances over all tasks, and what of it is published."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from panels import attack, harm, scored, with_panels
from records import original, record, retrained, spec

from benchmark import store
from benchmark.leaderboard import Board, board, render
from benchmark.leaderboard.document import overall_table, sections
from benchmark.leaderboard.harm import harms
from benchmark.leaderboard.markdown import markdown
from benchmark.leaderboard.page import html
from benchmark.leaderboard.panel_summary import flagged, summaries
from benchmark.leaderboard.section import Section, Table
from benchmark.panel.membership import auc_interval
from benchmark.record import MetricValue, Panel, Record


def attacks(wins: int) -> Panel:
    """Two that agree."""
    return {"mia_loss": attack(wins), "mia_zlib": attack(wins)}


TARGET: Panel = {
    "exact_memorization": scored(0.5),
    **attacks(6),
    "quantised_int4": scored(-0.02),
    **harm(0.0, books=0.0, github=0.0),
}
REFERENCE: Panel = {
    "exact_memorization": scored(0.3),
    **attacks(3),
    "quantised_int4": scored(-0.01),
    **harm(0.0, books=0.0, github=0.0),
}
HALF: Panel = {
    "exact_memorization": scored(0.4),
    **attacks(4),
    "quantised_int4": scored(-0.03),
    **harm(0.06, books=0.04, github=-0.01),
}
HIDING: Panel = {
    "exact_memorization": scored(0.2),
    **attacks(0),
    "quantised_int4": scored(0.2),
    **harm(0.02, books=0.01, github=0.02),
}
TEXT: Panel = {"blind_ngrams": MetricValue(agg_value=0.6, interval=(0.3, 0.9))}
WAYS = ((0.01, 0.5),)


def task(name: str, *, target: Panel = TARGET, hiding: Panel = HIDING, text: Panel = TEXT) -> list[Record]:
    """References and two methods: one that forgets half, and one that hides."""
    made = [
        (original(name), target),
        (retrained(name), REFERENCE),
        (record(spec("half", name), WAYS), HALF),
        (record(spec("hiding", name), ((0.01, 1.0),)), hiding),
    ]
    return [with_panels(of, target, REFERENCE, panel, text) for of, panel in made]


@pytest.fixture(scope="module")
def built() -> Board:
    lacking = {name: value for name, value in HIDING.items() if name != "exact_memorization"}
    failed = MetricValue(agg_value=None, reason="Diverged: not finite")
    unlike = TARGET | {"exact_memorization": scored(0.3)}  # on github the target knows no more than the reference
    return board([*task("arxiv"), *task("books", hiding=lacking | {"exact_memorization": failed}), *task("github", target=unlike)])


def on_second(made: Record, core: tuple[str, ...] | None = None) -> Record:
    """The same on a second training of the target, measured on the metrics in `core` alone."""
    assert made.baseline is not None
    panels = made.baseline.target_panel, made.baseline.reference_panel, made.operating_points[1].panel or {}
    kept = [{name: value for name, value in panel.items() if core is None or name in core} for panel in panels]
    spec = made.spec.model_copy(update={"target_seed": 1, "model_fingerprint": "n" * 64})
    return with_panels(made.model_copy(update={"spec": spec}), *kept, TEXT if core is None else {})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("run")
    for each in task("arxiv"):
        store.write(folder, each)
    render.publish(folder)
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def section(board: Board, title: str) -> Section:
    return next(section for section in sections(board) if section.title == title)


def cells(table: Table) -> dict[str, dict[str, str]]:
    """By method and column."""
    return {row[1]: dict(zip(table.header, row, strict=True)) for row in table.rows}


class TestOfATask:
    def test_raw_values_stand_beside_the_target_s_and_the_reference_s(self, built: Board) -> None:
        [fold] = section(built, "arxiv").folds
        assert [table.caption.split(":")[0] for table in fold.tables[:4]] == ["Forgetting", "Privacy", "Utility", "Robustness"]
        shown = {method: row["exact_memorization ↑"] for method, row in cells(fold.tables[0]).items()}
        assert shown == {"retrained": "0.300", "original": "0.500≠", "hiding": "0.200≠", "half": "0.400≠"}

    def test_a_score_is_two_sided_and_of_the_reference_s_distance(self, built: Board) -> None:
        panel = built.panel("arxiv")
        assert panel is not None
        scores = {label: row.panel["exact_memorization"] for label, row in panel.rows.items()}
        told = {label: reading.score for label, reading in scores.items() if reading is not None}
        assert told == {
            "retrained": 1.0,
            "original": 0.0,
            "half": pytest.approx(0.5),
            "hiding": pytest.approx(0.5),  # as far on the other side
        }

    def test_no_score_where_target_and_reference_cannot_be_told_apart(self, built: Board) -> None:
        panel = built.panel("github")
        assert panel is not None
        reading = panel.rows["half"].panel["exact_memorization"]
        assert reading is not None
        assert (reading.agg_value, reading.score) == (pytest.approx(0.4), None)
        assert ("No score", "exact_memorization: target and reference cannot be told apart by it here.") in section(built, "github").folds[
            0
        ].facts

    def test_what_was_not_measured_on_every_target_seed_is_missing(self) -> None:
        built = board([*task("arxiv"), *(on_second(made, core=("exact_memorization",)) for made in task("arxiv"))])
        panel = built.panel("arxiv")
        assert panel is not None
        reading = panel.rows["half"].panel["exact_memorization"]
        assert reading is not None
        assert reading.agg_value == pytest.approx(0.4)
        assert {row.panel["quantised_int4"] for row in panel.rows.values()} == {None}
        assert panel.gaps["quantised_int4"] is None
        [fold] = section(built, "arxiv").folds
        lacking = "mia_loss, mia_zlib, damage_by_domain, damage_by_similarity, quantised_int4"
        assert dict(fold.facts)["Missing"] == f"{lacking}: not measured on every target seed."
        summed = {summary.metric: summary for summary in summaries(built.panels, ["half"])}
        assert (summed["exact_memorization"].means, summed["quantised_int4"].means) == ({"half": pytest.approx(0.5)}, {"half": None})

    def test_what_one_method_s_runs_lack_is_told_of_it(self) -> None:
        made = [*task("arxiv"), *(on_second(each) for each in task("arxiv"))]
        made[-1] = on_second(
            task("arxiv")[-1], core=("exact_memorization", "mia_loss", "mia_zlib", "damage_by_domain", "damage_by_similarity")
        )
        built = board(made)
        panel = built.panel("arxiv")
        assert panel is not None
        assert panel.rows["hiding"].panel["quantised_int4"] is None
        assert panel.rows["half"].panel["quantised_int4"] is not None
        assert dict(section(built, "arxiv").folds[0].facts)["Missing"] == "quantised_int4 of hiding: not measured in every run."

    def test_a_row_that_lacks_a_target_seed_has_no_distance_over_tasks(self) -> None:
        built = board([*task("arxiv"), *(on_second(made) for made in task("arxiv")[:3])])
        assert built.panels[0].rows["hiding"].panel["quantised_int4"] is not None
        quantised = next(summary for summary in summaries(built.panels, ["half", "hiding"]) if summary.metric == "quantised_int4")
        assert quantised.means == {"half": pytest.approx(-0.02), "hiding": None}
        assert [harm.label for harm in harms(built.panels, ["half", "hiding"])] == ["half"]

    def test_the_interval_of_an_auc_is_not_the_recorded_bootstrap_s(self, built: Board) -> None:
        panel = built.panel("arxiv")
        assert panel is not None
        reading = panel.rows["original"].panel["mia_loss"]
        assert reading is not None
        assert reading.interval == pytest.approx(auc_interval(1.0, 6, 6))

    def test_what_is_missing_is_told_with_its_reason(self, built: Board) -> None:
        assert ("Missing", "exact_memorization of hiding: Diverged: not finite.") in section(built, "books").folds[0].facts

    def test_what_a_method_is_caught_by_is_told_with_the_numbers(self, built: Board) -> None:
        caught = section(built, "arxiv").folds[0].tables[-1]
        assert ("hiding", "hidden (quantised_int4): 0.200 nats come back, -0.010 on the reference") in caught.rows
        assert "retrained" not in {method for method, _ in caught.rows}

    def test_membership_rows_say_where_no_model_is_needed(self) -> None:
        apart = {"blind_ngrams": MetricValue(agg_value=0.9, interval=(0.7, 1.0))}
        made = board(task("arxiv", text=apart))
        told = dict(section(made, "arxiv").folds[0].facts)["Validity"]
        assert told.startswith("membership rows say little: ")
        assert told.endswith("(AUC blind_ngrams 0.90 [0.70, 1.00]).")
        assert "membership" not in flagged(made.panels, "hiding")


class TestFlags:
    """A method with three runs: one on the full panel, and two on a part of it."""

    CORE = ("exact_memorization",)

    def flags(self, *runs: tuple[float, Panel]) -> tuple[str, ...]:
        """Of runs, by how much they forget and what their panels have."""
        made = []
        for seed, (forgetting, unlearned) in enumerate(runs):
            panels = ({name: value for name, value in panel.items() if name in unlearned} for panel in (TARGET, REFERENCE))
            made.append(with_panels(record(spec("mixed", seed=seed), ((0.01, forgetting),)), *panels, unlearned, TEXT if not seed else {}))
        panel = board([*task("arxiv")[:2], *made]).panel("arxiv")
        assert panel is not None
        return panel.rows["mixed"].flags

    def core(self, guesses: float) -> Panel:
        return {"exact_memorization": scored(guesses)}

    def test_what_only_the_full_panel_can_catch_is_out_of_the_runs_that_have_it(self) -> None:
        assert self.flags((0.5, HIDING), (0.5, self.core(0.4)), (0.5, self.core(0.4))) == ("hidden", "membership")

    def test_what_every_run_was_looked_at_for_is_out_of_all(self) -> None:
        honest = HALF | self.core(0.4)
        assert self.flags((0.5, honest), (0.5, self.core(0.5)), (0.5, self.core(0.4))) == ()
        assert self.flags((0.5, honest), (0.5, self.core(0.5)), (0.5, self.core(0.5))) == ("pretended",)

    def test_what_needs_no_metric_is_out_of_all(self) -> None:
        assert self.flags((1.2, HALF), (0.5, self.core(0.4)), (0.5, self.core(0.4))) == ()
        assert self.flags((1.2, HALF), (1.2, self.core(0.2)), (0.5, self.core(0.4))) == ("over-forgotten",)

    def test_a_metric_without_a_value_was_not_measured(self) -> None:
        failed = {name: MetricValue(agg_value=None, reason="Diverged: not finite") for name in HIDING}
        assert self.flags((0.5, HIDING), (0.5, failed), (0.5, failed)) == ("hidden", "membership")


class TestOverAllTasks:
    def test_a_mean_is_over_the_tasks_that_tell_and_over_nothing_less(self, built: Board) -> None:
        summed = {summary.metric: summary for summary in summaries(built.panels, ["half", "hiding"])}
        memorization = summed["exact_memorization"]
        assert (memorization.shown, memorization.tasks) == ("score", ("arxiv", "books"))
        assert memorization.means == {"half": pytest.approx(0.5), "hiding": None}
        quantised = summed["quantised_int4"]
        assert (quantised.shown, quantised.tasks) == ("minus_reference", ("arxiv", "books", "github"))
        assert quantised.means == {"half": pytest.approx(-0.02), "hiding": pytest.approx(0.21)}

    def test_an_auc_is_told_by_its_distance_to_the_reference_on_every_task(self) -> None:
        blind = TARGET | {"mia_loss": attack(3)}  # on books the attack finds nobody
        built = board([*task("arxiv"), *task("books", target=blind)])
        attacks = next(summary for summary in summaries(built.panels, ["original", "half", "hiding"]) if summary.metric == "mia_loss")
        assert (attacks.shown, attacks.tasks) == ("score", ("arxiv", "books"))
        # the reference is at 1/2, so that 0 and 1 are as far from it as can be; on books the target is where the reference is
        assert attacks.means == {"original": pytest.approx((0.0 + 1.0) / 2), "half": pytest.approx(1 - 2 / 6), "hiding": pytest.approx(0.0)}
        assert "mia_loss" not in dict(section(built, "books").folds[0].facts).get("No score", "")

    def test_the_number_of_tasks_stands_in_the_heading(self, built: Board) -> None:
        table = section(built, "The panel over all tasks").tables[0]
        assert table.header == ("#", "method", "exact_memorization (2)")
        assert cells(table)["hiding"]["exact_memorization (2)"] == "–"  # noqa: RUF001

    def test_a_distance_has_its_sign(self, built: Board) -> None:
        robustness = next(table for table in section(built, "The panel over all tasks").tables if table.caption.startswith("Robustness"))
        shown = {method: row["quantised_int4 (3)"] for method, row in cells(robustness).items()}
        assert shown == {"retrained": "0.0000", "original": "-0.0100", "hiding": "+0.210", "half": "-0.0200"}

    def test_the_overall_table_says_on_how_many_tasks_a_method_is_caught(self, built: Board) -> None:
        shown = {method: row["caught"] for method, row in cells(overall_table(built)).items()}
        assert shown == {"retrained": "–", "original": "–", "half": "–", "hiding": "hidden 3, membership 3"}  # noqa: RUF001


class TestWhoPays:
    def test_by_domain_and_by_similarity(self, built: Board) -> None:
        half, _ = harms(built.panels, ["half", "hiding"])
        assert half.by_domain["arxiv"] == {"books": 0.04, "github": -0.01}
        assert half.mean_by_similarity(["arxiv", "books", "github"]) == {"far": 0.015, "middle": 0.03, "near": 0.06}

    def test_a_mean_wants_every_task(self, built: Board) -> None:
        [half] = harms(built.panels[:1], ["half"])
        assert half.mean_by_similarity(["arxiv", "books"]) is None

    def test_tables(self, built: Board) -> None:
        [table] = section(built, "Who pays, by domain").tables
        assert ("half", "arxiv", "4.0 %", "-1.0 %") in table.rows
        [table] = section(built, "Who pays, by similarity").tables
        assert cells(table)["half"]["near"] == "6.0 %"


class TestPublished:
    def test_json_has_the_panel_as_openunlearning_tells_it(self, files: dict[str, bytes]) -> None:
        [panel] = json.loads(files["leaderboard.json"])["leaderboard"]["panels"]
        told = panel["rows"]["half"]["panel"]
        assert told["exact_memorization"]["agg_value"] == pytest.approx(0.4)
        assert told["damage_by_domain"]["value_by_index"]["books"]["perplexity_rise"] == 0.04

    def test_csv_has_a_row_a_task_method_and_metric(self, files: dict[str, bytes]) -> None:
        lines = list(csv.DictReader(io.StringIO(files["panel.csv"].decode())))
        assert len(lines) == 4 * len(TARGET)
        line = next(line for line in lines if (line["label"], line["metric"]) == ("half", "mia_loss"))
        assert (line["task"], line["axis"]) == ("arxiv", "privacy")
        assert float(line["value"]) == 4 / 6
        assert float(line["minus_reference"]) == 4 / 6 - 0.5
        assert float(line["minus_reference_low"]) <= 0 <= float(line["minus_reference_high"])

    def test_figures(self, files: dict[str, bytes]) -> None:
        assert {"figures/harm-by-domain.svg", "figures/harm-by-similarity.svg"} <= files.keys()

    def test_a_task_s_panel_is_folded_away(self, built: Board) -> None:
        page = html(built.model, sections(built), {})
        assert page.count("<details>") == page.count("</details>") == 3
        assert "<summary>Panel: 6 metrics at 5 % damage</summary>" in page
        text = markdown(built.model, sections(built))
        assert "<details>\n<summary>Panel: 6 metrics at 5 % damage</summary>\n\n- **How to read**" in text

    def test_records_without_a_panel_give_a_board_without_one(self, tmp_path: Path) -> None:
        for each in (original(), retrained(), record(spec("half"), WAYS)):
            store.write(tmp_path, each)
        built = render.publish(tmp_path)
        assert built.panels == ()
        assert not (tmp_path / "panel.csv").exists()
        assert "caught" not in overall_table(built).header
        assert not {"The panel over all tasks", "Who pays, by domain", "Who pays, by similarity"} & {each.title for each in sections(built)}
