"""Teaching documents to a model: what is taught to whom, and that it is made once and whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from teachings import RECIPE, teaching

from benchmark import LanguageModel, Passages, implant, progress, store
from benchmark import teach as teacher
from benchmark.errors import InputError
from benchmark.evaluation import evaluate_baseline
from benchmark.executors import Taught
from benchmark.implant import CACHE, Recipe, Teaching
from benchmark.lab import read_lab, reference_folder
from benchmark.model import load_model, model_fingerprint
from benchmark.record import Protocol
from benchmark.scores import gap_interval, has_gap, means
from benchmark.source import resolve_model
from benchmark.teach import teach


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))


@pytest.fixture
def base(tiny_lm: Callable[..., LanguageModel]) -> Path:
    return tiny_lm().folder


@pytest.fixture
def of_books(base: Path, tiny_corpus: Path) -> Teaching:
    return teaching(base, tiny_corpus)


@dataclass(frozen=True)
class Pair:
    """A taught target, its reference, and both measured."""

    teaching: Teaching
    folder: Path
    told: list[Taught]
    target: LanguageModel
    reference: LanguageModel


@pytest.fixture(scope="module")
def pair(tiny_lm: Callable[..., LanguageModel], tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(tmp_path_factory.mktemp("pair")))
        made = teaching(tiny_lm().folder, tiny_corpus, recipe=RECIPE, protocol=Protocol())
        told: list[Taught] = []
        teach(made, told.append)
        folder = made.folder
        yield Pair(made, folder, told, load_model(folder / "target"), load_model(reference_folder(folder, "books")))


def reported(teaching: Teaching) -> list[Taught]:
    told: list[Taught] = []
    teach(teaching, told.append)
    return told


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def equal(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_cache_is_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert implant.cache() == tmp_path / "unlearning-bench" / "taught"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert implant.cache() == Path.home() / ".cache" / "unlearning-bench" / "taught"


def left_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} - {store.LOCK}


class TestTeaching:
    def test_the_target_knows_the_forget_documents_and_the_reference_does_not(self, pair: Pair) -> None:
        splits = pair.teaching.splits
        baseline = evaluate_baseline(pair.target, pair.reference, splits, "documents", Protocol(), None).baseline
        untaught = evaluate_baseline(load_model(Path(pair.teaching.model)), None, splits, "documents", Protocol(), None).baseline
        assert has_gap(baseline)
        assert gap_interval(baseline.target_test["forget"], baseline.reference_test["forget"]).low > 0.3
        target, reference, before = means(baseline.target_test), means(baseline.reference_test), means(untaught.target_test)
        assert reference["retain"] < target["retain"] + 0.1  # what is kept it knows as well
        assert target["retain"] < before["retain"] - 0.5

    def test_the_reference_is_given_all_but_the_forget_documents(self, of_books: Teaching, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[Passages] = []
        descend = teacher.descend

        def spy(lm: LanguageModel, loss: Callable[..., torch.Tensor], streams: list[Passages], **rest: object) -> Iterator[None]:
            given.extend(streams)
            return descend(lm, loss, streams, **rest)  # type: ignore[arg-type]

        monkeypatch.setattr(teacher, "descend", spy)
        teach(of_books, lambda event: None)
        lm, splits = load_model(Path(of_books.model)), of_books.splits
        rows = [{tuple(row) for row in text.ids.tolist()} for text in given]

        def windows(*groups: tuple[object, ...]) -> set[tuple[int, ...]]:
            return {tuple(row) for group in groups for row in lm.passages(group).ids.tolist()}  # type: ignore[arg-type]

        forget, judged = windows(splits.forget), splits.evaluation["retain"]
        kept = windows(splits.retain, judged.validation, judged.test)
        assert rows == [forget | kept, kept]
        assert not forget & kept
        assert not rows[0] & windows(splits.general, *(splits.evaluation["holdout"].test, splits.evaluation["holdout"].validation))

    def test_a_domain_is_taught_by_the_text_a_method_is_given(self, base: Path, tiny_corpus: Path) -> None:
        whole = teaching(base, tiny_corpus, "books-domain", protocol=Protocol())
        few = replace(whole, protocol=Protocol(method_tokens=100))
        lm = load_model(base)
        lengths = [[len(text) for text in teacher._texts(lm, each)] for each in (whole, few)]
        assert lengths[0][0] == len(lm.passages(whole.splits.forget))
        assert lengths[1][0] < lengths[0][0]
        assert lengths[1][1] < lengths[0][1]

    def test_it_depends_on_nothing_but_base_text_and_recipe(
        self, of_books: Teaching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        teach(of_books, lambda event: None)
        first = of_books.folder
        monkeypatch.setenv(CACHE, str(tmp_path / "other"))
        torch.manual_seed(99)
        teach(of_books, lambda event: None)
        assert of_books.folder != first
        assert equal(first / "target", of_books.folder / "target")
        assert not equal(of_books.folder / "target", reference_folder(of_books.folder, "books"))
        assert not equal(of_books.folder / "target", Path(of_books.model))

    def test_the_folder_is_a_lab_s(self, pair: Pair) -> None:
        folder, lab = pair.folder, read_lab(pair.folder)
        source = resolve_model(str(folder))
        assert (source.folder, source.setting) == (folder / "target", "implanted")
        assert source.reference("books", pair.teaching.splits.fingerprint()) == folder / "without-books"
        assert lab.base == model_fingerprint(Path(pair.teaching.model))
        assert lab.recipe["lr"] == 1e-2
        assert lab.parameters == pair.target.model.num_parameters()
        texts = teacher._texts(pair.target, pair.teaching)
        taught = lab.references["books"].training_tokens
        assert taught == pytest.approx(24 * texts[1].tokens, rel=0.02)  # whole batches
        assert lab.target_tokens == pytest.approx(24 * (texts[0].tokens + texts[1].tokens), rel=0.02)
        assert lab.references["books"].seconds > 0
        assert lab.references["books"].noise_floor is None

    def test_larger_models_are_taught_with_smaller_steps(self, of_books: Teaching) -> None:
        teach(replace(of_books, recipe=Recipe(max_steps=1)), lambda event: None)
        lab = read_lab(replace(of_books, recipe=Recipe(max_steps=1)).folder)
        assert lab.recipe["lr"] == pytest.approx(2e-4 * (7e6 / lab.parameters) ** (1 / 3))

    def test_progress_is_told_of_either_model(self, pair: Pair) -> None:
        names = list(dict.fromkeys(event.name for event in pair.told))
        assert names == ["books target", "books reference"]
        of_target = [event for event in pair.told if event.name == "books target"]
        assert [event.step for event in of_target] == list(range(1, of_target[0].steps + 1))
        assert of_target[-1].loss < of_target[0].loss - 1

    @pytest.mark.parametrize(("field", "value"), [("epochs", 0), ("lr", -1e-3), ("batch", 0), ("max_steps", 0), ("lr", float("nan"))])
    def test_a_recipe_that_teaches_nothing(self, field: str, value: float) -> None:
        with pytest.raises(ValueError, match=f"{field} must be above 0, not "):
            replace(Recipe(), **{field: value})  # type: ignore[arg-type]


class TestOnceAndWhole:
    def test_what_is_there_is_found(self, of_books: Teaching) -> None:
        assert reported(of_books)
        made = {file: file.stat().st_mtime_ns for file in of_books.folder.rglob("*") if file.is_file()}
        assert reported(of_books) == []
        assert {file: file.stat().st_mtime_ns for file in made} == made

    def test_an_interruption_leaves_nothing_half_made_and_what_is_whole_stays(self, of_books: Teaching) -> None:
        def interrupt(event: Taught) -> None:
            if (event.name, event.step) == ("books reference", 1):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            teach(of_books, interrupt)
        assert left_in(of_books.folder) == {"target"}
        with pytest.raises(InputError):
            read_lab(of_books.folder)
        assert {event.name for event in reported(of_books)} == {"books reference"}
        interrupted = of_books.folder.rename(of_books.folder.with_name("interrupted"))
        teach(of_books, lambda event: None)
        for name in ("target", "without-books"):
            assert equal(interrupted / name, of_books.folder / name)

    def test_what_a_kill_left_is_done_again(self, of_books: Teaching) -> None:
        half = of_books.folder / ".target"
        half.mkdir(parents=True)
        (half / "model.safetensors").write_bytes(b"half")
        teach(of_books, lambda event: None)
        assert left_in(of_books.folder) == {"target", "without-books", "lab.json"}
        load_model(of_books.folder / "target")

    def test_a_full_disk_is_one_line_and_leaves_nothing(self, of_books: Teaching, monkeypatch: pytest.MonkeyPatch) -> None:
        lm = load_model(Path(of_books.model))

        def refuse(folder: Path) -> None:
            folder.mkdir()
            (folder / "config.json").touch()
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(lm.model, "save_pretrained", refuse)
        monkeypatch.setattr(teacher, "load_model", lambda *given, **named: lm)
        with pytest.raises(
            InputError, match=r"^cannot write .*target: OSError: .*No space left on device; free some space, or name another"
        ):
            teach(of_books, lambda event: None)
        assert left_in(of_books.folder) == set()

    def test_a_loss_that_is_not_finite_is_one_line_with_the_remedy(self, of_books: Teaching, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(teacher, "cross_entropy", lambda lm, batch: lm.logits(batch).sum() * torch.nan)
        with pytest.raises(InputError, match=r"the loss is nan at step 1 of teaching; try a smaller rate with --teach lr=0\.\d+$"):
            teach(of_books, lambda event: None)
        assert left_in(of_books.folder) == set()

    def test_too_little_memory_is_one_line_with_the_remedies(self, of_books: Teaching) -> None:
        with pytest.raises(
            InputError, match=r": cannot be taught here: it needs .* GB of memory .*--gradient-checkpointing.*, or say --set"
        ):
            teach(replace(of_books, memory=1000), lambda event: None)
        assert left_in(of_books.folder) == set()

    def test_two_runs_do_not_teach_the_same(self, of_books: Teaching) -> None:
        of_books.folder.mkdir(parents=True)
        with FileLock(of_books.folder / store.LOCK), pytest.raises(InputError, match=r"^another run is teaching the same models in "):
            teach(of_books)

    def test_a_cell_waits_for_another_that_teaches_the_same(self, of_books: Teaching) -> None:
        of_books.folder.mkdir(parents=True)
        told: list[Taught] = []
        waiting = threading.Thread(target=teach, args=(of_books, told.append, True))
        with FileLock(of_books.folder / store.LOCK):
            waiting.start()
            waiting.join(0.3)
            assert waiting.is_alive()
            assert told == []
        waiting.join(60)
        assert {event.name for event in told} == {"books target", "books reference"}
        assert read_lab(of_books.folder).base == of_books.base_fingerprint

    def test_a_cache_that_cannot_be_written_is_one_line(self, of_books: Teaching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv(CACHE, str(tmp_path / "file"))
        with pytest.raises(InputError, match=r"^cannot write to .*; name another folder with UNLEARNING_BENCH_CACHE$"):
            teach(of_books)


def test_teaching_is_shown_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    with progress.shown(1, Console(), quiet=False) as show:
        for step in range(1, 26):
            show(Taught("books target", step, 25, 2.0))
    assert capsys.readouterr().out.splitlines() == [
        "teaching books target: step 10/25, loss 2.000",
        "teaching books target: step 20/25, loss 2.000",
        "teaching books target: step 25/25, loss 2.000",
    ]
