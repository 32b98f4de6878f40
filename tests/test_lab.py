"""The lab: a target, and references trained without exactly what is to be forgotten."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from cells import by_cell
from conftest import TINY_RECIPE
from safetensors import safe_open
from safetensors.torch import load_file

from benchmark import registry, runner, store
from benchmark.corpus import Document, load_corpus
from benchmark.errors import InputError
from benchmark.executors import Taught
from benchmark.executors.here import Here
from benchmark.lab import read_lab, seed_folder
from benchmark.lab import train as training
from benchmark.lab.make import make_lab
from benchmark.lab.train import new_model, train_model, train_tokenizer
from benchmark.leaderboard import render
from benchmark.measure import evaluation_text, measure
from benchmark.model import load_model
from benchmark.plan import Options, plan
from benchmark.record import Protocol
from benchmark.source import resolve_model
from benchmark.splits import Splits, split

QUICKER = dataclasses.replace(TINY_RECIPE, epochs=1)


@pytest.fixture(scope="module")
def splits(tiny_corpus: Path) -> Mapping[str, Splits]:
    return {name: split(task, load_corpus(tiny_corpus)) for name, task in registry.tasks().items()}


def make(splits: Mapping[str, Splits], out: Path, recipe: training.Recipe = TINY_RECIPE, jobs: int = 1, seeds: int = 1) -> list[Taught]:
    """Make a lab; what was reported on the way."""
    told: list[Taught] = []
    make_lab(splits, recipe, out, jobs, seeds, told.append)
    return told


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def equal(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def documents_of(folder: Path) -> list[str]:
    return json.loads((folder / "training.json").read_text())["documents"]


class TestMaking:
    def test_the_manifest_says_what_is_there(self, tiny_lab: Path, splits: Mapping[str, Splits]) -> None:
        lab = read_lab(tiny_lab)
        assert lab.recipe == dataclasses.asdict(TINY_RECIPE)
        assert lab.references.keys() == splits.keys()
        assert lab.parameters == load_model(tiny_lab / "target").model.num_parameters()
        for task, reference in lab.references.items():
            assert reference.splits == splits[task].fingerprint()
            assert 0 < reference.training_tokens <= lab.target_tokens
            assert reference.training_tokens % (TINY_RECIPE.batch * TINY_RECIPE.context) == 0
            assert reference.noise_floor is None
            source = resolve_model(str(tiny_lab))
            assert source.reference(task, splits[task].fingerprint()) == tiny_lab / f"without-{task}"
        assert (source.name, source.folder) == ("tiny-lab", tiny_lab / "target")

    def test_references_are_trained_without_exactly_the_forget_documents(self, tiny_lab: Path, splits: Mapping[str, Splits]) -> None:
        target = documents_of(tiny_lab / "target")
        for task, its in splits.items():
            gone = set(target) - set(documents_of(tiny_lab / f"without-{task}"))
            if registry.task(task).removes == "documents":
                assert gone == {document.id for document in its.forget}
            else:
                assert gone == {name for name in target if name.startswith(registry.task(task).domain)}
            held_out = {document.id for half in dataclasses.astuple(its.evaluation["holdout"]) for document in map(_document, half)}
            assert not held_out & set(target)

    def test_weights_are_bfloat16(self, tiny_lab: Path) -> None:
        for folder in ("target", "without-arxiv"):
            with safe_open(tiny_lab / folder / "model.safetensors", "pt") as file:
                assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118 -- not a mapping
        assert load_model(tiny_lab / "target").model.dtype == torch.float32

    def test_what_is_made_is_left(self, tiny_lab: Path, splits: Mapping[str, Splits], tmp_path: Path) -> None:
        lab = shutil.copytree(tiny_lab, tmp_path / "lab")
        assert make(splits, lab) == []
        assert read_lab(lab) == read_lab(tiny_lab)
        (lab / "without-books" / "training.json").unlink()  # as an interrupted training leaves it
        told = make(splits, lab)
        assert {progress.name for progress in told} == {"without books"}
        assert (told[-1].step, told[-1].loss < told[0].loss) == (told[-1].steps, True)
        assert equal(lab / "without-books", tiny_lab / "without-books")

    def test_a_folder_of_another_recipe_is_refused_and_left_alone(
        self, tiny_lab: Path, splits: Mapping[str, Splits], tmp_path: Path
    ) -> None:
        lab = shutil.copytree(tiny_lab, tmp_path / "lab")
        before = {file: file.read_bytes() for file in lab.rglob("*") if file.is_file()}
        with pytest.raises(InputError, match="target: made by another recipe or from other documents"):
            make(splits, lab, dataclasses.replace(TINY_RECIPE, vocabulary=299))
        its = splits["books"]
        renamed = dataclasses.replace(its, reference=its.reference[1:])
        reworded = dataclasses.replace(its, reference=(Document(its.reference[0].id, "other words"), *its.reference[1:]))
        for other in (renamed, reworded):
            with pytest.raises(InputError, match="without-books: made by another recipe or from other documents"):
                make({**splits, "books": other}, lab)
        assert {file: file.read_bytes() for file in lab.rglob("*") if file.is_file()} == before

    def test_further_seeds_are_labs_of_their_own_and_measure_the_noise_floor(self, splits: Mapping[str, Splits], tmp_path: Path) -> None:
        told = make({"books": splits["books"]}, tmp_path, QUICKER, seeds=2)
        assert {progress.name for progress in told} == {"target", "without books", "target (seed 1)", "without books (seed 1)"}
        reference = read_lab(tmp_path).references["books"]
        assert reference.reference_noise is not None
        assert reference.target_noise is not None
        assert min(reference.reference_noise, reference.target_noise) > 0
        assert reference.noise_floor == max(reference.reference_noise, reference.target_noise) < 1
        assert 0 < reference.target_noise < 1
        lab, second = read_lab(tmp_path), read_lab(tmp_path / "seed-1")
        assert (lab.seeds, second.seeds) == (2, 1)
        assert (lab.recipe["seed"], second.recipe["seed"]) == (0, 1)
        assert second.references["books"].noise_floor == reference.noise_floor
        assert not equal(tmp_path / "target", tmp_path / "seed-1" / "target")
        assert documents_of(tmp_path / "without-books") == documents_of(tmp_path / "seed-1" / "without-books")

    def test_of_several_seeds_the_mean_over_pairs_is_the_noise_floor(self, splits: Mapping[str, Splits], tmp_path: Path) -> None:
        make({"books": splits["books"]}, tmp_path, QUICKER, seeds=3)
        halves = splits["books"].evaluation["forget"]
        for name in ("target", "without-books"):
            means = []
            for seed in range(3):
                lm = load_model(seed_folder(tmp_path, seed) / name)
                text = evaluation_text(lm, halves.validation + halves.test, most_tokens=10**9)
                means.append(measure(lm, {"forget": text})["forget"].mean_nll)
            reference = read_lab(tmp_path).references["books"]
            noise = reference.target_noise if name == "target" else reference.reference_noise
            assert noise == pytest.approx(sum(abs(one - other) for one, other in itertools.combinations(means, 2)) / 3, abs=1e-9)

    @pytest.mark.slow
    def test_in_several_processes_the_same_models_come_out(self, splits: Mapping[str, Splits], tmp_path: Path) -> None:
        some = {"books": splits["books"]}
        make(some, tmp_path / "one", QUICKER)
        told = make(some, tmp_path / "two", QUICKER, jobs=2)
        assert {progress.name for progress in told} == {"target", "without books"}
        for folder in ("target", "without-books"):
            assert equal(tmp_path / "one" / folder, tmp_path / "two" / folder)


def _document(given: object) -> Document:
    return Document(*given)  # type: ignore[misc]


class TestTraining:
    DOCUMENTS = tuple(Document(str(index), f"some text about number {index} and no other " * 12) for index in range(12))

    def test_it_learns_and_depends_on_the_seed_alone(self) -> None:
        recipe = dataclasses.replace(TINY_RECIPE, epochs=4, vocabulary=280)
        tokenizer = train_tokenizer(self.DOCUMENTS, recipe)
        losses: list[float] = []
        first = train_model(self.DOCUMENTS, tokenizer, recipe, lambda step, steps, loss: losses.append(loss))
        torch.manual_seed(99)
        second = train_model(self.DOCUMENTS, tokenizer, recipe)
        other = train_model(self.DOCUMENTS, tokenizer, dataclasses.replace(recipe, seed=1))
        assert losses[-1] < 0.8 * losses[0]
        assert not first.training
        states = [model.state_dict() for model in (first, second, other)]
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
        assert not all(torch.equal(tensor, states[2][name]) for name, tensor in states[0].items())

    def test_an_epoch_sees_every_window_once_but_for_the_offset(self) -> None:
        encoded = [torch.full((length,), index) for index, length in enumerate((50, 40, 70))]
        recipe = dataclasses.replace(TINY_RECIPE, context=8, batch=2)
        batches = training._batches(encoded, recipe, torch.Generator().manual_seed(0))
        whole = (160 - 7) // 8 // 2  # at the largest offset
        seen = torch.cat([next(batches).flatten() for _ in range(whole)])
        counts = torch.bincount(seen, minlength=3)
        assert all(0 < count <= length for count, length in zip(counts.tolist(), (50, 40, 70), strict=True))

    def test_the_schedule_warms_up_and_then_falls_to_nothing(self) -> None:
        rates = [training._schedule(step, 100) for step in range(100)]
        assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
        assert rates[5] == max(rates) == 1.0
        assert all(later < earlier for earlier, later in itertools.pairwise(rates[5:]))
        assert rates[-1] < 0.01

    def test_the_tokenizer_gives_every_text_back(self) -> None:
        tokenizer = train_tokenizer(self.DOCUMENTS, TINY_RECIPE)
        text = "Any text: \t√2 ≈ 1.414,\n\n  naïve “quotes” 日本 "
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
        assert len(tokenizer) <= TINY_RECIPE.vocabulary
        assert new_model(TINY_RECIPE).get_input_embeddings().num_embeddings == TINY_RECIPE.vocabulary


def test_a_whole_run_on_the_lab(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path, no_plugin_stays: None) -> None:
    options = Options(
        methods=["gradient-difference", "random-pruning"],
        tasks=["github", "github-domain"],
        model=str(tiny_lab),
        data=tiny_corpus,
        out=tmp_path,
        protocol=Protocol(max_steps=8, growth=2.0),
    )
    out, cells = plan(options)
    runner.run(runner.missing(cells, out, retry_failed=False), out, Here(), lambda event: None)
    assert {record.status for record in store.read_all(out)} == {"ok"}
    assert runner.missing(cells, out, retry_failed=True) == []
    board = render.publish(out)
    for suffix in ("md", "csv", "json", "html"):
        assert (out / f"leaderboard.{suffix}").stat().st_size > 1000
    assert list((out / "figures").glob("*.svg"))
    assert [table.task for table in board.tasks] == ["github", "github-domain"]
    rows = {row.label: row for row in board.overall}
    assert rows["original"].mean is not None
    assert rows["original"].mean.value == 0
    assert rows["retrained"].mean is not None
    assert rows["retrained"].mean.value == 1
    assert len(by_cell(out)) == len(cells) == 8
