"""Several trainings of the target model: planned, run and summed up, each judged by its own reference."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cells import MISBEHAVING, QUICK
from records import original, record, retrained, spec
from safetensors.torch import load_file
from teachings import SHORT

from benchmark import LanguageModel, registry, runner, store
from benchmark.alike import check_alike
from benchmark.cell import Cell
from benchmark.chance import estimate
from benchmark.errors import InputError
from benchmark.executors.here import Here
from benchmark.implant import CACHE
from benchmark.lab import SHIPPED, read_lab, reference_folder, seed_folder
from benchmark.leaderboard import board, render, rows
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.export import to_json
from benchmark.leaderboard.markdown import markdown
from benchmark.plan import Options, plan
from benchmark.record import Protocol, Record
from benchmark.removal import Removal
from benchmark.source import resolve_model

SECOND = seed_folder(SHIPPED, 1)
CHEAP = Options(methods=["random-pruning"], tasks=["books"], protocol=Protocol(max_steps=4, growth=2.0, limit=3, method_tokens=16384))


class TestTheShippedLab:
    def test_has_two_trainings_of_everything_by_one_recipe(self) -> None:
        first, second = read_lab(SHIPPED), read_lab(SECOND)
        assert first.seeds == 2
        assert not seed_folder(SHIPPED, 2).exists()
        assert second.recipe == {**first.recipe, "seed": 1}
        assert second.references.keys() == first.references.keys() == registry.tasks().keys()
        for task, reference in first.references.items():
            assert reference.model_copy(update={"seconds": second.references[task].seconds}) == second.references[task]

    def test_their_weights_differ_and_their_documents_do_not(self) -> None:
        for name in ("target", "without-books"):
            made, again = (json.loads((lab / name / "training.json").read_text("utf-8")) for lab in (SHIPPED, SECOND))
            assert (made["documents"], made["tokens"]) == (again["documents"], again["tokens"])
            weights, others = (load_file(lab / name / "model.safetensors") for lab in (SHIPPED, SECOND))
            assert not all(tensor.equal(others[key]) for key, tensor in weights.items())

    def test_each_target_seed_has_its_own_models_and_cost(self) -> None:
        source = resolve_model("lab")
        second = source.of_seed(1)
        assert source.of_seed(0) == source
        assert (second.name, second.folder, second.target_seeds) == ("lab", SECOND / "target", 1)
        assert second.reference("books", read_lab(SHIPPED).references["books"].splits) == reference_folder(SECOND, "books")
        first_cost, second_cost = source.retraining("books"), second.retraining("books")
        assert first_cost is not None
        assert second_cost is not None
        assert first_cost.flops == second_cost.flops
        assert second_cost.seconds == read_lab(SECOND).references["books"].seconds != first_cost.seconds


class TestPlanning:
    def test_every_cell_once_for_each_target_seed(self, tmp_path: Path) -> None:
        asked = replace(CHEAP, tasks=["books", "arxiv"], seeds=2, out=tmp_path)
        once, twice = plan(asked)[1], plan(replace(asked, target_seeds=2))[1]
        assert twice[: len(once)] == once, "the first target seed's cells are what they were"
        assert [cell.spec.target_seed for cell in twice] == [0] * len(once) + [1] * len(once)
        assert len({cell.spec.key() for cell in twice}) == 2 * len(once) == 2 * 2 * (2 + 2)
        changed = {"target_seed": 0, "model_fingerprint": once[0].spec.model_fingerprint}
        assert [cell.spec.model_copy(update=changed) for cell in twice[len(once) :]] == [cell.spec for cell in once]
        assert len({cell.spec.model_fingerprint for cell in twice}) == 2

    def test_what_is_taught_is_taught_with_each_target_seed(
        self,
        tiny_lm: Callable[..., LanguageModel],
        tiny_corpus: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        no_plugin_stays: None,
    ) -> None:
        monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
        asked = Options(["nudging"], ["books"], model=str(tiny_lm().folder), data=tiny_corpus, plugins=[MISBEHAVING], protocol=QUICK)
        out, cells = plan(replace(asked, recipe=SHORT, target_seeds=2, out=tmp_path / "out"))
        assert [cell.teaching.recipe.seed for cell in cells if cell.teaching] == [0] * 3 + [1] * 3
        check_alike([cell.spec for cell in cells], "")
        records = ran(cells, out)
        assert {record.status for record in records} == {"ok"}
        targets = {record.spec.target_seed: record.baseline.target_test["forget"] for record in records if record.baseline}
        assert targets[0] != targets[1]

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"target_seeds": 3},
                "--target-seeds 3: task 'books' is about lab as it is, of which there are 2 trainings; ask for no more, or make a lab with"
                " as many by `bench lab train --seeds 3`",
            ),
            (
                {"model": str(SHIPPED / "target"), "setting": "pretrained", "target_seeds": 2},
                "--target-seeds 2: task 'books' is about target as it is, of which there is one training; ask for no more, or make a lab",
            ),
            (
                {"removal": Removal(Path("mine.txt")), "target_seeds": 2},
                "--target-seeds 2: a removal request is about one model; leave --target-seeds out",
            ),
            ({"target_seeds": 0}, "--target-seeds 0: at least one is needed"),
        ],
    )
    def test_more_than_there_are(self, changes: dict[str, object], said: str) -> None:
        with pytest.raises(InputError) as caught:
            plan(replace(CHEAP, **changes))  # type: ignore[arg-type]
        assert str(caught.value).startswith(said)
        assert "\n" not in str(caught.value)

    def test_a_lab_of_which_a_training_is_missing(self, tmp_path: Path) -> None:
        (tmp_path / "lab.json").write_bytes((SHIPPED / "lab.json").read_bytes())
        with pytest.raises(InputError, match=r"seed-1/lab\.json: not a lab manifest \("):
            resolve_model(str(tmp_path)).of_seed(1)


class TestOneFolder:
    def test_holds_several_trainings_of_one_model(self) -> None:
        check_alike([spec(), spec(target_seed=1, model_fingerprint="n" * 64)], "")

    @pytest.mark.parametrize("other", [{"model_fingerprint": "o" * 64}, {"model": "another"}])
    def test_holds_no_other_model(self, other: dict[str, object]) -> None:
        held = [spec(), spec(target_seed=1, model_fingerprint="n" * 64)]
        with pytest.raises(InputError, match="records of different models cannot stand in one leaderboard"):
            check_alike([*held, held[1].model_copy(update={"seed": 3, **other})], "")


def ran(cells: Sequence[Cell], out: Path) -> list[Record]:
    runner.run(cells, out, Here(), lambda event: None)
    return store.read_all(out)


def test_a_run_on_both_trainings_of_the_lab(tmp_path: Path) -> None:
    out, cells = plan(replace(CHEAP, target_seeds=2, out=tmp_path))
    records = {(record.spec.method, record.spec.target_seed): record for record in ran(cells, out)}
    assert len(records) == len(cells) == 6
    assert runner.missing(cells, out) == []
    for method in ("original", "retrained", "random-pruning"):
        first, second = (records[method, seed] for seed in (0, 1))
        assert (first.status, second.status) == ("ok", "ok")
        assert first.baseline is not None
        assert second.baseline is not None
        for name in ("target_test", "reference_test"):
            one, other = (getattr(baseline, name)["forget"] for baseline in (first.baseline, second.baseline))
            assert one.ids == other.ids
            assert one.nll != other.nll
    assert [records["retrained", seed].operating_points[0].cost.seconds for seed in (0, 1)] == [
        read_lab(seed_folder(SHIPPED, seed)).references["books"].seconds for seed in (0, 1)
    ]
    made = render.publish(out)
    (table,) = made.tasks
    assert made.model_fingerprints == {seed: records["original", seed].spec.model_fingerprint for seed in (0, 1)}
    assert table.gaps[0] != table.gaps[1]
    scored = {ranked.row.method: ranked.row for ranked in table.rows}
    assert [scored[method].headline.score for method in ("original", "retrained")] == [(0, 0, 0), (1, 1, 1)]  # type: ignore[union-attr]
    pruned = scored["random-pruning"]
    assert [(cell.target_seed, cell.seed) for cell in pruned.cells] == [(0, 0), (1, 0)]
    assert pruned.headline is not None
    assert pruned.headline.score == estimate([pruned.cells])
    assert pruned.cells[1].reference == records["random-pruning", 1].baseline.reference_test["forget"]  # type: ignore[union-attr]


def two_by_two() -> list[Record]:
    """A method with two seeds on two trainings: 0.3 and 0.5 on the first, 0.6 and 0.8 on the second."""
    forgetting = {(0, 0): 0.3, (0, 1): 0.5, (1, 0): 0.6, (1, 1): 0.8}
    return [
        record(spec(target_seed=target_seed, seed=seed, model_fingerprint="mn"[target_seed] * 64), ((0.02, share),))
        for (target_seed, seed), share in forgetting.items()
    ]


def test_a_row_sums_up_target_seeds_and_method_seeds() -> None:
    (row,) = rows(reversed(two_by_two()))
    assert (row.target_seeds, row.seeds) == ((0, 1), (0, 1))
    assert [(cell.target_seed, cell.seed, round(cell.score, 6)) for cell in row.cells] == [
        (0, 0, 0.3),
        (0, 1, 0.5),
        (1, 0, 0.6),
        (1, 1, 0.8),
    ]
    assert row.headline is not None
    assert row.headline.score is not None
    assert row.headline.score.value == pytest.approx(0.55)
    assert row.headline.score.low < 0.4 < 0.7 < row.headline.score.high
    assert len(row.curves) == len(row.keys) == 4


def test_target_seeds_count_alike_however_many_runs_they_have() -> None:
    (row,) = rows(two_by_two()[:3])
    assert row.headline is not None
    assert row.headline.score is not None
    assert row.headline.score.value == pytest.approx((0.4 + 0.6) / 2)


def test_a_seed_that_one_training_lacks_leaves_the_row_unranked_and_is_named() -> None:
    built = board(two_by_two()[:3])
    ((ranked,), (one,)) = built.tasks[0].rows, built.overall
    assert ranked.row.missing_seeds == ((1, 1),)
    assert (ranked.rank, ranked.row.score, one.rank, one.mean) == (None, None, None, None)
    assert one.missing == "arxiv: no record of seed 1 on target seed 1"
    text = markdown("lab", sections(built))
    assert "no record of seed 1 on target seed 1; there is one on another target seed" in text
    assert rows(two_by_two())[0].lacks is None


def test_the_board_tells_of_every_training() -> None:
    references = [
        each.model_copy(update={"spec": each.spec.model_copy(update={"target_seed": seed, "model_fingerprint": "mn"[seed] * 64})})
        for each in (original(), retrained())
        for seed in (0, 1)
    ]
    built = board([*references, *two_by_two()])
    text = markdown("lab", sections(built))
    assert f"lab, fingerprints {'m' * 12} (target seed 0), {'n' * 12} (target seed 1)" in text
    gap = r"1\.000 \[0\.\d+, 1\.\d+\] for target seed"
    assert re.search(rf"its NLL on forget less the target's is {gap} 0 and {gap} 1 nats a token", text)
    assert "95%, Student's t on jackknife values of 12 forget documents and on the means of target seeds." in text
    assert "ascent, 2 target seeds x 2 seeds" in text
    assert "original, 2 target seeds" in text
    told = json.loads(to_json(built))["leaderboard"]["tasks"][0]["rows"][2]["row"]
    assert told["target_seeds"] == [0, 1]
    assert "cells" not in told


def test_a_failure_says_on_which_training() -> None:
    first, second = spec(), spec(target_seed=1)
    (row,) = rows([record(first), record(second, status="failed", reason="NaN")])
    assert (row.status, row.reason, row.cells) == ("failed", "target seed 1, seed 0: NaN", ())


def test_a_training_without_a_gap_leaves_the_task_unscored_and_is_named() -> None:
    near = {"forget": 2.02, "retain": 3.0, "holdout": 3.5, "general": 2.5}
    (table,) = board([record(spec(), ((0.02, 0.5),)), record(spec(target_seed=1), ((0.02, 0.5),), reference=near)]).tasks
    assert table.unscored is not None
    assert table.unscored.startswith("target seed 1: the gap between target and reference on the forget set (")
    assert {(ranked.row.headline.score if ranked.row.headline else None, ranked.row.cells) for ranked in table.rows} == {(None, ())}
    both = [record(spec(target_seed=seed), kind="none") for seed in (0, 1)]
    assert board(both).tasks[0].unscored == "there is no reference model, and nothing that stands in for one"
