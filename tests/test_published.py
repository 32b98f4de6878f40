"""What is published is what the records say: tables, the README's board, and the defaults that the sweep chose."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from benchmark import registry, store, sweep
from benchmark.lab import SHIPPED, read_lab
from benchmark.lab.study import forget_gap
from benchmark.leaderboard import board
from benchmark.leaderboard.document import overall_table, sections
from benchmark.leaderboard.export import to_csv, to_json
from benchmark.leaderboard.markdown import markdown, table_text
from benchmark.record import Protocol
from benchmark.scores import utility_damage
from benchmark.sweep.report import report

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
BOARDS = sorted(path.parent for path in RESULTS.glob("*/leaderboard.md"))
BUDGET = Protocol().headline


def test_the_lab_board_is_published() -> None:
    assert RESULTS / "lab" in BOARDS


@pytest.mark.parametrize("folder", BOARDS, ids=lambda path: path.name)
def test_tables_are_the_records(folder: Path) -> None:
    built = board(store.read_all(folder), store.read_all(folder / "sweep"))
    assert (folder / "leaderboard.md").read_text("utf-8") == markdown(built.model, sections(built))
    assert (folder / "leaderboard.csv").read_text("utf-8") == to_csv(built)
    assert (folder / "leaderboard.json").read_text("utf-8") == to_json(built)


def test_the_lab_board_has_every_method_on_every_task() -> None:
    records = store.read_all(RESULTS / "lab")
    there = {(record.spec.method, record.spec.task) for record in records if record.status == "ok"}
    assert there == {(method, task) for method in (*registry.RESERVED, *registry.methods()) for task in registry.tasks()}


def test_the_lab_board_is_of_the_shipped_methods_and_defaults() -> None:
    for record in store.read_all(RESULTS / "lab"):
        if record.spec.method not in registry.RESERVED:
            entry = registry.method(record.spec.method)
            assert record.spec.source == entry.source_hash(), f"{entry.name} was edited after its cells were measured"
            assert record.spec.hyperparameters == vars(entry.build())


def test_the_readme_shows_the_published_board() -> None:
    table = table_text(overall_table(board(store.read_all(RESULTS / "lab"))))
    assert table in (ROOT / "README.md").read_text("utf-8")


def test_the_readme_tells_of_every_method() -> None:
    listed = (ROOT / "README.md").read_text("utf-8").partition("<!-- methods -->")[2].partition("<!-- /methods -->")[0]
    assert sorted(re.findall(r"`([a-z-]+)`", listed)) == sorted(registry.methods())
    for entry in registry.methods().values():
        (line,) = (line for line in listed.splitlines() if f"`{entry.name}`" in line)
        assert (inspect.getdoc(entry.cls) or "").partition("\n")[0] in line
        assert f"(methods/{Path(inspect.getfile(entry.cls)).name})" in line


def test_sweep_table_is_its_records_and_chose_the_defaults() -> None:
    folder = RESULTS / "lab" / "sweep"
    records, entries = store.read_all(folder), list(registry.methods().values())
    tasks = list(dict.fromkeys(record.spec.task for record in records))
    trials = sweep.trials(records, entries, tasks, BUDGET)
    assert (folder / "sweep.md").read_bytes() == report(records, entries, tasks, BUDGET)["sweep.md"]
    assert len({sum(trial.method == entry.name for trial in trials) for entry in entries}) == 1, "unequal numbers of trials"
    for entry in entries:
        best = next(trial for trial in trials if trial.method == entry.name)
        built = entry.build()
        assert {name: getattr(built, name) for name in best.setting} == best.setting, f"{entry.name}: the defaults are not the best trial"


def test_the_shipped_lab_is_a_good_instrument() -> None:
    lab = read_lab(SHIPPED)
    assert set(lab.references) == set(registry.tasks())
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) <= 24_000_000
    for record in store.read_all(RESULTS / "lab"):
        if record.spec.method != "retrained" or record.baseline is None or record.spec.target_seed >= lab.seeds:
            continue
        floor = lab.references[record.spec.task].noise_floor
        assert floor is not None
        assert forget_gap(record.baseline) >= max(0.5, 10 * floor)
        if record.removes == "documents":
            kept = {name: documents.mean_nll for name, documents in record.baseline.reference_test.items()}
            target = {name: documents.mean_nll for name, documents in record.baseline.target_test.items()}
            assert utility_damage(kept, target, {}) <= 0.05
