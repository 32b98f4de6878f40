"""A cell: whatever happens in it becomes a record, the same one every time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from cells import QUICK, by_cell, deterministic, planned, run
from safetensors.torch import load_file
from torch import Tensor

from benchmark import LanguageModel, Passages, Request, registry, yardstick
from benchmark import operating_points as operating
from benchmark.cell import Cell, run_cell
from benchmark.corpus import load_corpus
from benchmark.errors import InputError
from benchmark.measure import measure
from benchmark.model import load_model
from benchmark.record import Cost, Protocol, Record
from benchmark.scores import forget_score, has_gap, means, utility_damage
from benchmark.snapshot import changed_elements
from benchmark.splits import split
from benchmark.utility.answers import Answers
from benchmark.utility.results import Outcome

pytestmark = pytest.mark.usefixtures("no_plugin_stays")


@pytest.fixture
def cell_of(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path):
    def make(method: str, task: str = "arxiv", **options) -> Cell:
        cells = planned(tiny_lab, tiny_corpus, tmp_path, [method] if method not in registry.RESERVED else ["nudging"], [task], **options)
        return next(cell for cell in cells if cell.spec.method == method)

    return make


def points(record: Record, measured: str = "forget") -> list[float]:
    return [point.test[measured].mean_nll for point in record.operating_points]


class TestOutcomes:
    @pytest.mark.parametrize(
        ("method", "status", "reason", "steps"),
        [
            ("nudging", "ok", None, [0, 1, 2, 3]),
            ("declining", "declined", "not on a Friday", []),
            ("declining-late", "declined", "not on a Friday either", []),
            ("unbuildable", "failed", "ValueError: no such thing", []),
            ("raising", "failed", "raised after measured step 2: ZeroDivisionError: as it happens", [0, 1, 2]),
            ("memory-host", "failed", "raised after measured step 0: MemoryError: tried to allocate 80 GiB", [0]),
            ("memory-cuda", "failed", "raised after measured step 0: OutOfMemoryError: tried to allocate 80 GiB", [0]),
            ("preparing-badly", "failed", "RuntimeError: nothing prepared", []),
            ("leaving", "failed", "raised after measured step 0: SystemExit: enough", [0]),
            ("diverging", "diverged", "diverged after measured step 1: the loss on the forget set is not finite", [0, 1]),
        ],
    )
    def test_every_one_is_on_record(self, cell_of, method: str, status: str, reason: str | None, steps: list[int]) -> None:
        record = run_cell(cell_of(method))
        assert (record.status, record.reason) == (status, reason)
        assert [step.step for step in record.trajectory] == steps
        assert len(record.operating_points) == (3 if status == "ok" else 0)
        assert record.baseline is not None
        assert Record.model_validate_json(record.model_dump_json()) == record

    def test_a_target_that_cannot_be_measured_is_on_record(self, cell_of, monkeypatch: pytest.MonkeyPatch) -> None:
        def exhausted(*given: object) -> None:
            raise MemoryError("tried to allocate 80 GiB")

        monkeypatch.setattr(yardstick, "evaluate_baseline", exhausted)
        yardstick.yardstick_for.cache_clear()
        record = run_cell(cell_of("nudging"))
        assert (record.status, record.baseline) == ("failed", None)
        assert record.reason == "target and reference could not be measured: MemoryError: tried to allocate 80 GiB"

    def test_a_model_that_is_gone_is_the_users_to_mend(self, cell_of, tmp_path: Path) -> None:
        cell = dataclasses.replace(cell_of("nudging"), model=str(tmp_path / "gone" / "lab"))
        with pytest.raises(InputError, match="no such model folder"):
            run_cell(cell)

    def test_progress_is_told(self, cell_of) -> None:
        told: list[int] = []
        run_cell(cell_of("nudging"), told.append)
        assert told == [1, 2, 3]


class TestReferences:
    @pytest.mark.parametrize("task", ["books", "github-domain"])
    def test_original_scores_0_and_retrained_1_by_measurement(self, cell_of, task: str) -> None:
        for method, expected in (("original", 0.0), ("retrained", 1.0)):
            record = run_cell(cell_of(method, task))
            baseline = record.baseline
            assert baseline is not None
            assert baseline.reference_kind == "exact"
            assert has_gap(baseline)
            target, reference = means(baseline.target_test), means(baseline.reference_test)
            assert [forget_score(nll, target["forget"], reference["forget"]) for nll in points(record)] == [expected] * 3
            assert [utility_damage(means(point.test), target, reference) for point in record.operating_points] == [0.0] * 3
            assert [(point.budget, point.step) for point in record.operating_points] == [(0.01, 0), (0.05, 0), (0.2, 0)]
            assert record.trajectory == ()

    def test_distances_and_changed_elements(self, cell_of) -> None:
        original, retrained = run_cell(cell_of("original")), run_cell(cell_of("retrained"))
        assert original.operating_points[0].parameters_changed == 0
        assert all(distance < 1e-6 for distance in retrained.operating_points[1].divergence.values())
        assert original.operating_points[1].divergence["forget"] > 0.01
        folder = cell_of("original").model
        target, reference = (load_file(Path(folder) / name / "model.safetensors") for name in ("target", "without-arxiv"))
        differing = sum(int((tensor != reference[name]).sum()) for name, tensor in target.items())
        assert retrained.operating_points[0].parameters_changed == differing > 1000

    def test_retraining_costs_what_training_took(self, cell_of) -> None:
        record = run_cell(cell_of("retrained"))
        cost = record.operating_points[0].cost
        assert record.retraining_flops == cost.flops > 0
        assert cost.seconds > 0
        assert run_cell(cell_of("original")).operating_points[0].cost == Cost()

    def test_without_a_lab_there_is_no_retrained_row(self, tiny_lab: Path, cell_of) -> None:
        retrained = run_cell(dataclasses.replace(cell_of("retrained"), model=str(tiny_lab / "target")))
        assert (retrained.status, retrained.reason) == ("declined", "no retrained model: the reference is approximate")
        record = run_cell(dataclasses.replace(cell_of("nudging"), model=str(tiny_lab / "target")))
        assert record.status == "ok"
        assert {point.divergence for point in record.operating_points} == {None}
        assert record.retraining_flops is None


class TestOperatingPoints:
    def test_are_measured_on_the_test_half_with_the_weights_of_their_step(self, cell_of, tiny_lab: Path) -> None:
        record = run_cell(cell_of("random-pruning", protocol=Protocol(max_steps=60, growth=1.0)))
        assert len({point.step for point in record.operating_points}) > 1
        cell = cell_of("random-pruning")
        lm = load_model(tiny_lab / "target")
        held = yardstick.yardstick_for(cell.spec.task, cell.model, 0, cell.data, Protocol(max_steps=60, growth=1.0), cell.loading, ())
        request = Request(*held.texts, 0)
        expected = {0: held.evaluation.baseline.target_test}
        untouched = load_model(tiny_lab / "target").model.state_dict()
        changed = {0: 0}
        for number, _ in enumerate(registry.method("random-pruning").build().unlearn(lm, request), start=1):
            expected[number] = measure(lm, held.evaluation.test)
            changed[number] = changed_elements(lm.model.state_dict(), untouched)
        for point in record.operating_points:
            assert point.test == expected[point.step]
            assert point.parameters_changed == changed[point.step]

    def test_a_step_chosen_by_several_budgets_is_measured_once(self, cell_of, monkeypatch: pytest.MonkeyPatch) -> None:
        counted = []
        original = operating._point
        monkeypatch.setattr(operating, "_point", lambda *given: counted.append(given) or original(*given))
        steps = [point.step for point in run_cell(cell_of("attaching")).operating_points]
        assert 0 < len(set(steps) - {0}) < len(steps)
        assert len(counted) == len(set(steps) - {0})

    def test_a_module_attached_for_nothing_is_not_there_at_step_0(self, cell_of) -> None:
        record = run_cell(cell_of("attaching-ruinously"))
        assert [point.step for point in record.operating_points] == [0, 0, 0]
        assert {point.parameters_changed for point in record.operating_points} == {0}
        assert record.baseline is not None
        assert all(point.test == record.baseline.target_test for point in record.operating_points)

    def test_a_module_that_the_method_does_not_declare_is_refused(self, cell_of) -> None:
        record = run_cell(cell_of("attaching-in-secret"))
        assert record.status == "failed"
        assert record.reason is not None
        assert "a method that leaves more than weights there declares `inserts`" in record.reason

    def test_what_is_no_weight_has_no_part_in_what_is_measured(self, cell_of) -> None:
        record = run_cell(cell_of("hooking"))
        assert record.trajectory[-1].nll["forget"] != record.trajectory[0].nll["forget"]
        assert record.baseline is not None
        assert all(point.test == record.baseline.target_test for point in record.operating_points)

    def test_an_attached_module_comes_back(self, cell_of) -> None:
        record = run_cell(cell_of("attaching"))
        last = record.operating_points[-1]
        assert last.step == 3
        assert last.test != record.baseline.target_test
        assert last.parameters_changed == 300 * 16 + 1  # the projection goes by another name now, and the scale


class TestDeterminism:
    @pytest.mark.parametrize("method", ["gradient-difference", "random-pruning", "noisy"])
    def test_twice_the_same_record_bit_for_bit(self, cell_of, method: str) -> None:
        first, other, again = (run_cell(cell) for cell in (cell_of(method), cell_of("nudging"), cell_of(method)))
        assert deterministic(first) == deterministic(again)
        assert deterministic(first) != deterministic(other)

    def test_the_seed_decides_and_prepared_work_is_shared(self, tiny_lab: Path, tiny_corpus: Path, tmp_path: Path) -> None:
        def noisy(out: str, seeds: list[int]) -> dict[int, Record]:
            cells = planned(tiny_lab, tiny_corpus, tmp_path / out, ["noisy"], seeds=2)
            run([cell for seed in seeds for cell in cells if (cell.spec.method, cell.spec.seed) == ("noisy", seed)])
            return {record.spec.seed: record for record in by_cell(tmp_path / out).values()}

        forwards, backwards = noisy("forwards", [0, 1]), noisy("backwards", [1, 0])
        for seed in (0, 1):  # whichever seed came first and prepared for both
            assert deterministic(forwards[seed]) == deterministic(backwards[seed])
        assert forwards[0].trajectory != forwards[1].trajectory
        assert forwards[0].prepare_cost == forwards[1].prepare_cost
        prepared = [load_file(next((tmp_path / out / "prepared").glob("*.safetensors"))) for out in ("forwards", "backwards")]
        assert torch.equal(prepared[0]["noise"], prepared[1]["noise"])


class TestTypeWall:
    """Evaluation text cannot leak into a method."""

    @pytest.mark.parametrize("task", ["books", "books-domain"])
    def test_nothing_but_the_methods_own_text_is_reachable_from_a_request(self, cell_of, task: str, tiny_corpus: Path) -> None:
        cell = cell_of("spying", task)
        run_cell(cell)
        request = registry.method("spying").cls.seen.pop()
        assert {type(part) for part in reachable(request)} <= {Request, Passages, Tensor, dict, int, type(None)}
        splits = split(registry.task(task), load_corpus(tiny_corpus))
        lm = load_model(Path(cell.model) / "target")
        given = [windows(part) for part in (request.forget, request.retain, request.general)]
        assert given == [windows(lm.passages(part)) for part in (splits.forget, splits.retain, splits.general)]
        for name, halves in splits.evaluation.items():
            if (task, name) == ("books", "forget"):
                continue  # a document to be forgotten is judged on itself
            judged = windows(lm.passages(halves.validation + halves.test))
            assert judged
            assert not any(judged & part for part in given), name

    def test_text_is_capped_but_documents_to_be_forgotten_are_whole(self, cell_of) -> None:
        for task in ("books", "books-domain"):
            run_cell(cell_of("spying", task, protocol=Protocol(max_steps=1, limit=2, method_tokens=50)))
            request = registry.method("spying").cls.seen.pop()
            documents = [part.documents for part in (request.forget, request.retain, request.general)]
            assert documents == ([4, 2, 2] if task == "books" else [2, 2, 2])


def windows(passages: Passages) -> set[tuple[int, ...]]:
    return {tuple(ids[mask].tolist()) for ids, mask in zip(passages.ids, passages.mask, strict=True)}


def reachable(thing: object) -> list[object]:
    """Everything that attributes and items lead to."""
    if isinstance(thing, Mapping):
        inner = [part for item in thing.items() for part in item]
    elif isinstance(thing, list | tuple | set | frozenset):
        inner = list(thing)
    else:
        inner = list(getattr(thing, "__dict__", {}).values())
    return [thing, *(part for child in inner for part in reachable(child))]


def test_a_record_never_holds_a_number_that_is_not_finite(cell_of) -> None:
    def numbers(value: object) -> list[float]:
        if isinstance(value, dict | list):
            return [n for item in (value.values() if isinstance(value, dict) else value) for n in numbers(item)]
        return [value] if isinstance(value, float) else []

    found = numbers(run_cell(cell_of("diverging")).model_dump(mode="json"))
    assert found
    assert all(math.isfinite(number) for number in found)


class TestUtility:
    TASKS = ("general_last_word", "general_word_order")

    @pytest.fixture
    def utility_of(self, cell_of, monkeypatch: pytest.MonkeyPatch):
        """The record of a method's cell with a stand-in for lm-eval: the sum of a model's weights."""

        def answer(
            lm: LanguageModel, names: Sequence[str], limit: int | None, target: Mapping[str, Outcome] | None = None
        ) -> dict[str, Outcome]:
            total = sum(float(parameter.detach().double().sum()) for parameter in lm.model.parameters())
            return {name: Answers("1.0", 2, {"sum": [total, total]}, {"sum": max}, {"sum": True}) for name in names}

        monkeypatch.setattr(yardstick, "ask", answer)
        monkeypatch.setattr("benchmark.utility.results.ask", answer)
        yardstick.yardstick_for.cache_clear()
        yardstick._utility.cache_clear()
        yield lambda method: run_cell(cell_of(method, protocol=QUICK.model_copy(update={"utility": self.TASKS})))
        yardstick.yardstick_for.cache_clear()
        yardstick._utility.cache_clear()

    def test_the_target_and_the_headline_point_are_on_record(self, utility_of) -> None:
        record = utility_of("nudging")
        baseline, headline = record.baseline.utility, record.operating_points[1]
        assert set(baseline) == set(headline.utility) == set(self.TASKS)
        for name, result in headline.utility.items():
            score = result.scores["sum"]
            assert score.change == score.value - baseline[name].scores["sum"].value
            assert (score.change == 0) == (headline.step == 0)
        for point in record.operating_points:
            assert (point.utility is None) == (point.budget != headline.budget)
        assert Record.model_validate_json(record.model_dump_json()) == record

    def test_reference_rows_have_theirs(self, utility_of) -> None:
        changes = {
            method: utility_of(method).operating_points[1].utility["general_last_word"].scores["sum"].change
            for method in ("original", "retrained")
        }
        assert changes["original"] == 0
        assert changes["retrained"] != 0

    def test_none_is_measured_where_none_is_asked_for(self, cell_of) -> None:
        record = run_cell(cell_of("nudging"))
        assert record.baseline.utility is None
        assert all(point.utility is None for point in record.operating_points)

    def test_what_lm_eval_cannot_do_leaves_the_cell_standing(self, cell_of) -> None:
        record = run_cell(cell_of("nudging", protocol=QUICK.model_copy(update={"utility": self.TASKS})))
        assert record.status == "ok"
        for result in record.baseline.utility.values():
            assert "the model's context is 32" in result.reason
