"""The papers' claims tried here: every file and every number in the text is what the records say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import registry, store
from benchmark.leaderboard import drops, formats
from benchmark.leaderboard.rows import rows
from benchmark.record import Protocol, Record
from benchmark.sweep.report import report

CLAIMS = Path(__file__).parent.parent / "results" / "claims"
FOLDERS = sorted(path.parent for path in CLAIMS.glob("*/sweep.md"))
BUDGET = Protocol().budgets[1]


def varied(records: list[Record]) -> dict[str, list[str]]:
    """The fields in which the settings of each method differ."""
    found: dict[str, list[str]] = {}
    for method in dict.fromkeys(record.spec.method for record in records):
        settings = [record.spec.hyperparameters for record in records if record.spec.method == method]
        found[method] = [name for name in settings[0] if len({repr(setting[name]) for setting in settings}) > 1]
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_tables_and_figures_are_the_records(folder: Path) -> None:
    records = store.read_all(folder)
    assert all(record.status == "ok" for record in records)
    tasks = sorted({record.spec.task for record in records})
    fields = varied(records)
    for name, content in report(records, [registry.method(name) for name in fields], tasks, BUDGET, fields).items():
        if not name.startswith("figures/"):  # those depend on the version of matplotlib too
            assert (folder / name).read_bytes() == content, name


@pytest.mark.skipif(not (CLAIMS / "selectivity" / "sweep.md").exists(), reason="not measured")
def test_selectivity_is_told_as_measured() -> None:
    """The README's table: the best importance of each part, as in the paper, and random pruning beside it."""
    told = (CLAIMS / "README.md").read_text("utf-8")
    records = [record for folder in FOLDERS if folder.name.startswith("selectivity") for record in store.read_all(folder)]
    summed = rows(records)
    for task in sorted({record.spec.task for record in records}):
        found = drops.differences(summed, task)
        cells = [task]
        for method in ("selective-pruning", "selective-pruning-attention"):
            best = next(each for each in found if each.row.method == method)
            cells.append(f"{formats.percent(best.difference)} ({best.row.hyperparameters['importance']})")
        for where in ("feed-forward", "attention"):
            (drawn,) = (each for each in found if each.row.method == "random-pruning" and each.row.hyperparameters["where"] == where)
            cells.append(formats.percent(drawn.difference))
        assert f"| {' | '.join(cells)} |" in told
