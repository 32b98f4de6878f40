"""General utility on the board: changes against the target, means over seeds, and nothing where something is missing."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from records import original, record, retrained, spec

from benchmark.leaderboard import board
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.export import to_csv, to_json
from benchmark.leaderboard.markdown import markdown
from benchmark.record import Protocol, Record
from benchmark.utility_result import UtilityResult, UtilityScore

TASKS = ("general_word_order", "hellaswag")
PROTOCOL = Protocol(utility=TASKS)
TARGET = {
    "general_word_order": UtilityResult(
        version="1.0",
        items=66,
        scores={"acc": UtilityScore(value=0.8, stderr=0.05, change=None, change_stderr=None, higher_is_better=True)},
    ),
    "hellaswag": UtilityResult(reason="Unusable: an item needs 140 tokens"),
}


def told(made: Record, change: float | None, reason: str = "Unusable: 3 of 4 log-likelihoods are not finite") -> Record:
    """The record with what lm-eval says of its headline point; None: nothing but a reason."""
    result = UtilityResult(reason=reason)
    if change is not None:
        score = UtilityScore(value=0.8 + change, stderr=0.05, change=change, change_stderr=0.02, higher_is_better=True)
        result = UtilityResult(version="1.0", items=66, scores={"acc": score})
    found = {"general_word_order": result, "hellaswag": UtilityResult(reason="not tried, as the target failed")}
    points = [point.model_copy(update={"utility": found if point.budget == PROTOCOL.headline else None}) for point in made.operating_points]
    baseline = made.baseline and made.baseline.model_copy(update={"utility": TARGET})
    cell = made.spec.model_copy(update={"protocol": PROTOCOL})
    return made.model_copy(update={"spec": cell, "operating_points": tuple(points), "baseline": baseline})


@pytest.fixture
def built():
    records = []
    for task in ("arxiv", "books"):
        records += [told(original(task), 0.0), told(retrained(task), -0.01)]
        records += [told(record(spec("ascent", task, seed=seed)), change) for seed, change in enumerate((-0.1, -0.3))]
        records.append(told(record(spec("wrecking", task)), -0.5 if task == "arxiv" else None))
    records.append(told(record(spec("partial", "arxiv")), -0.25))
    return board(records)


def test_changes_are_means_over_seeds_and_tasks(built) -> None:
    (section,) = (section for section in sections(built) if section.title == "General utility")
    (table,) = section.tables
    assert table.caption == "general_word_order, acc: change against the target"
    assert table.header == ("#", "method", "arxiv", "books", "mean")
    rows = {row[1]: row[2:] for row in table.rows}
    assert rows["original"] == ("0.000 ± 0.020", "0.000 ± 0.020", "0.000")
    assert rows["ascent"] == ("-0.200 ± 0.020", "-0.200 ± 0.020", "-0.200")


def test_what_is_missing_is_shown_as_missing_with_its_reason(built) -> None:
    text = re.sub(" +", " ", markdown(built.model, sections(built)))
    (wrecking,) = (line for line in text.splitlines() if line.startswith("|") and "wrecking | -0.500" in line)
    assert wrecking.endswith("| -0.500 ± 0.020 | – | – |")  # noqa: RUF001 -- the board's dash
    (partial,) = (line for line in text.splitlines() if line.startswith("|") and "partial | -0.250" in line)
    assert partial.endswith("| -0.250 ± 0.020 | – | – |")  # noqa: RUF001
    assert "the target has 0.800 ± 0.050 over 66 items; higher is better (version 1.0)" in text
    assert "missing for wrecking on books: Unusable: 3 of 4 log-likelihoods are not finite" in text
    assert "missing for target: Unusable: an item needs 140 tokens" in text


def test_files_for_machines_have_it_all(built) -> None:
    rows = {(row["task"], row["method"]): row for row in csv.DictReader(io.StringIO(to_csv(built)))}
    name = "utility_general_word_order_acc"
    assert float(rows["arxiv", "ascent"][name]) == pytest.approx(0.6)
    assert float(rows["arxiv", "ascent"][f"{name}_change"]) == pytest.approx(-0.2)
    assert float(rows["arxiv", "ascent"][f"{name}_change_stderr"]) == pytest.approx(0.02)
    assert rows["books", "wrecking"][name] == rows["books", "wrecking"][f"{name}_change"] == ""
    tables = json.loads(to_json(built))["leaderboard"]["utility"]
    assert [(table["name"], table["metric"]) for table in tables] == [("general_word_order", "acc"), ("hellaswag", None)]
    assert tables[0]["changes"]["wrecking"]["books"] is None
    assert tables[0]["target"]["value"] == 0.8


def test_without_lm_eval_there_is_no_section() -> None:
    plain = board([original(), retrained(), record(spec())])
    assert plain.utility == ()
    assert "General utility" not in markdown(plain.model, sections(plain))
    assert "utility_general" not in to_csv(plain)
