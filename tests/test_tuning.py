"""How much tuning matters: the expected best of k against every subset, and what a sweep's trials add up to."""

from __future__ import annotations

import csv
import io
import itertools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from records import Kind, harmed, original, record, spec

from benchmark import store
from benchmark.errors import InputError
from benchmark.leaderboard import board, render
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.markdown import markdown
from benchmark.leaderboard.tuning import Sweep, Trial, Tuning, expected_best, sweep_tuning
from benchmark.leaderboard.tuning_section import TITLE, tuning_section
from benchmark.record import Cost, Record
from benchmark.registry import MethodEntry
from benchmark.sweep.report import report
from methods.gradient_ascent import GradientAscent


def by_subsets(trials: Sequence[Trial], k: int) -> float:
    """Draw every k of them, and of those best on validation take each as often as any other."""
    drawn = []
    for some in itertools.combinations(trials, k):
        merit = max(trial.merit for trial in some)
        drawn.append(statistics.fmean(trial.score for trial in some if trial.merit == merit))
    return statistics.fmean(drawn)


@pytest.mark.parametrize(
    "pairs",
    [
        [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3), (0.4, 0.4)],
        [(0.1, 0.5), (0.2, 0.1), (0.9, -0.3), (0.4, 0.2), (0.5, 0.0), (0.6, 0.7)],
        [(0.0, 0.0), (0.0, 0.4), (0.0, -0.1), (0.5, 0.6), (0.5, 0.1)],
        [(0.3, 0.2)],
    ],
    ids=["agreeing", "disagreeing", "ties", "one"],
)
def test_the_expected_best_is_the_mean_over_all_subsets(pairs: list[tuple[float, float]]) -> None:
    trials = [Trial(merit, score, 1.0) for merit, score in pairs]
    found = expected_best(trials)
    assert found == pytest.approx([by_subsets(trials, k) for k in range(1, len(trials) + 1)], abs=1e-12)
    assert found == expected_best(trials[::-1])


def test_of_one_it_is_the_mean_trial_and_of_all_the_chosen_one() -> None:
    found = expected_best([Trial(0.1, 0.3, 1.0), Trial(0.4, 0.2, 1.0), Trial(0.2, 0.7, 1.0)])
    assert found[0] == pytest.approx(0.4)
    assert found[-1] == 0.2, "validation is wrong here, and the figure is what it costs"
    assert expected_best([]) == ()


def trial(lr: float, forgetting: float, task: str = "books", method: str = "ascent", kind: Kind = "exact", **options: Any) -> Record:
    return record(spec(method, task, hyperparameters={"lr": lr}), ((0.02, 0.1), (0.04, forgetting)), kind=kind, flops=10**9, **options)


def only(records: list[Record]) -> Tuning:
    found = sweep_tuning(records)
    assert found is not None
    (tuning,) = found.tunings
    return tuning


def test_a_methods_trials_by_hand() -> None:
    """Means over two tasks: 0.4, 0.2 and 0.6."""
    records = [trial(lr, share, task) for lr, share in ((1, 0.4), (2, 0.2), (3, 0.6)) for task in ("arxiv", "books")]
    found = sweep_tuning(records)
    assert found is not None
    assert (found.tasks, found.budget, found.growth) == (("arxiv", "books"), 0.05, 1.5)
    (tuning,) = found.tunings
    assert tuning.best_of == pytest.approx((0.4, (0.4 + 0.6 + 0.6) / 3, 0.6))
    assert (tuning.trials, tuning.median, tuning.inside) == (3, pytest.approx(0.4), 1.0)
    assert tuning.flops == 6 * 2 * 10**9
    assert tuning.cpu_seconds == pytest.approx(6 * 2 * 0.75)
    assert tuning.missing is None


def test_it_is_chosen_on_validation_and_told_of_test() -> None:
    """The trial that shines on validation is half as good on test."""
    shining = harmed(trial(1, 0.8), 0.04, forgetting=0.4)
    tuning = only([shining, trial(2, 0.6)])
    assert tuning.best_of == pytest.approx((0.5, 0.4))


def test_what_is_far_above_the_budget_on_test_counts_as_nothing_and_above_it_as_outside() -> None:
    tuning = only([harmed(trial(1, 0.8), 0.3), harmed(trial(2, 0.6), 0.07), trial(3, 0.2)])
    assert tuning.best_of[-1] == 0.0
    assert tuning.best_of[0] == pytest.approx(0.8 / 3)
    assert tuning.inside == pytest.approx(1 / 3)


def test_a_trial_that_never_helps_is_the_untouched_model_and_not_inside() -> None:
    idle = record(spec("ascent", "books", hyperparameters={"lr": 1}), ((0.3, 0.9),))
    tuning = only([idle, trial(2, 0.6)])
    assert tuning.best_of == pytest.approx((0.3, 0.6))
    assert tuning.inside == 0.5


def test_a_trial_that_diverged_counts_as_the_untouched_model() -> None:
    tuning = only([trial(1, 0.5, status="diverged", reason="NaN"), trial(2, 0.6)])
    assert (tuning.best_of, tuning.inside, tuning.missing) == (pytest.approx((0.3, 0.6)), 0.5, None)


@pytest.mark.parametrize("status", ["failed", "declined"])
def test_nothing_is_averaged_over_a_missing_trial(status: Any) -> None:
    tuning = only([trial(1, 0.5, status=status, reason="no memory"), trial(2, 0.6)])
    assert (tuning.best_of, tuning.median, tuning.inside) == ((), None, None)
    assert tuning.missing == "1 of its trials failed, declined or lack a task or seed"


def test_a_trial_without_one_of_the_tasks_is_missing() -> None:
    tuning = only([trial(1, 0.5), trial(1, 0.5, "arxiv"), trial(2, 0.6)])
    assert tuning.missing is not None
    assert tuning.best_of == ()


def test_what_was_prepared_together_is_paid_once() -> None:
    shared, own = Cost(flops=7 * 10**9, cpu_seconds=3.0), Cost(flops=5 * 10**9, cpu_seconds=1.0)
    tuning = only([trial(1, 0.5, prepare=shared), trial(2, 0.5, prepare=shared), trial(3, 0.5, prepare=own)])
    assert tuning.flops == (7 + 5 + 3 * 2) * 10**9
    assert tuning.cpu_seconds == pytest.approx(4.0 + 3 * 2 * 0.75)


def test_without_forget_scores_there_is_nothing_to_tell() -> None:
    assert sweep_tuning([trial(1, 0.5, kind="none")]) is None


SWEEP = [
    trial(lr, share, method=method) for method, most in (("ascent", 0.8), ("steady", 0.5)) for lr, share in ((1, most), (2, 0.1), (3, 0.4))
]


def test_the_board_reads_the_sweep_of_its_own_folder(tmp_path: Path) -> None:
    for each in [original("books"), trial(1, 0.8)]:
        store.write(tmp_path, each)
    render.publish(tmp_path)
    assert TITLE not in (tmp_path / "leaderboard.md").read_text("utf-8")
    for each in SWEEP:
        store.write(tmp_path / "sweep", each)
    render.publish(tmp_path)
    text = (tmp_path / "leaderboard.md").read_text("utf-8")
    assert f"## {TITLE}" in text
    assert "3 trials of every method on books" in text
    assert "![How much tuning matters](figures/tuning.svg)" in text
    assert (tmp_path / "figures" / "tuning.png").stat().st_size > 10_000
    page = (tmp_path / "leaderboard.html").read_text("utf-8")
    assert f'alt="Figure: {TITLE}"' in page
    told = json.loads((tmp_path / "leaderboard.json").read_bytes())["leaderboard"]["sweep"]["tunings"]
    assert [tuning["method"] for tuning in told] == ["ascent", "steady"]
    assert told[0]["best_of"][-1] == pytest.approx(0.8)


def test_the_table_has_a_line_a_method_with_its_missing_ones_told() -> None:
    broken = trial(1, 0.5, method="broken", status="failed", reason="no memory")
    found = sweep_tuning([*SWEEP, broken])
    assert found is not None
    section = tuning_section(found)
    (table,) = section.tables
    assert table.header == ("method", "trials", "best of 1", "best of 2", "best of all", "median trial", "inside", "FLOPs", "CPU seconds")
    assert table.rows[0] == ("ascent", "3", "0.43", "0.67", "0.80", "0.40", "100.0 %", "6 G", "4.5")
    assert table.rows[-1][:6] == ("broken", "1", "–", "–", "–", "–")  # noqa: RUF001
    facts = dict(section.facts)
    assert facts["What this is"].startswith("1 to 3 trials of each method on books")
    assert facts["Not told"] == "broken (1 of its trials failed, declined or lack a task or seed)."


def test_a_sweep_of_another_model_is_refused() -> None:
    other = SWEEP[0].model_copy(update={"spec": SWEEP[0].spec.model_copy(update={"model": "other"})})
    with pytest.raises(InputError, match="the sweep beside these records is of other, not of lab; move it away"):
        board([original("books")], [other])


def test_the_sweeps_own_report_has_it() -> None:
    entry = MethodEntry("ascent", GradientAscent, {})
    files = report(SWEEP[:3], [entry], ["books"], 0.05, {"ascent": ["lr"]})
    assert f"## {TITLE}" in files["sweep.md"].decode()
    (line,) = csv.DictReader(io.StringIO(files["tuning.csv"].decode()))
    assert (line["method"], line["trials"]) == ("ascent", "3")
    assert [float(line[f"best_of_{k}"]) for k in (1, 2, 3)] == pytest.approx([1.3 / 3, 2 / 3, 0.8])
    assert {"figures/tuning.svg", "figures/tuning.png"} <= files.keys()


def test_a_board_without_trials_says_nothing_of_them() -> None:
    built = board([original("books"), trial(1, 0.8)])
    assert built.sweep is None
    assert TITLE not in markdown(built.model, sections(built))


def test_one_trial_has_no_curve() -> None:
    found = sweep_tuning(SWEEP[:1])
    assert isinstance(found, Sweep)
    assert tuning_section(found).figure is None
