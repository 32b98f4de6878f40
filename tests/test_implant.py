"""The implanted setting: what is taught to whom, that it is made once and whole, and what is said of it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from cells import MISBEHAVING, QUICK, by_cell, forget_plugins, run
from filelock import FileLock
from records import record, spec
from safetensors.torch import load_file

from benchmark import LanguageModel, Passages, implant, progress, registry, runner, store
from benchmark import teach as teacher
from benchmark.alike import check_alike
from benchmark.cell import Cell
from benchmark.corpus import load_corpus
from benchmark.errors import InputError
from benchmark.evaluation import evaluate_baseline
from benchmark.executors import Taught
from benchmark.implant import BASE_DIGITS, CACHE, Recipe, Teaching, setting_for, setting_for_request
from benchmark.lab import read_lab, reference_folder
from benchmark.leaderboard import board
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.markdown import markdown
from benchmark.loading import ON_CPU, Loading
from benchmark.model import load_model, model_fingerprint
from benchmark.plan import Options, plan
from benchmark.record import Protocol, Record
from benchmark.runner import missing
from benchmark.scores import gap_interval, has_gap, means
from benchmark.source import resolve_model
from benchmark.splits import split
from benchmark.task import REQUEST
from benchmark.teach import teach

RECIPE = Recipe(epochs=24, lr=1e-2, batch=256)
SHORT = Recipe(max_steps=2, batch=256)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))


def teaching(base: Path, corpus: Path, name: str = "books", recipe: Recipe = SHORT, protocol: Protocol = QUICK) -> Teaching:
    task = registry.task(name)
    return Teaching(str(base), model_fingerprint(base), task, split(task, load_corpus(corpus)), protocol, recipe, ON_CPU)


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


class TestSettings:
    def test_defaults_by_what_is_removed(self, base: Path) -> None:
        source, documents, domain = resolve_model(str(base)), registry.task("books"), registry.task("books-domain")
        assert [setting_for(source, task, None) for task in (documents, domain)] == ["implanted", "pretrained"]
        for asked in ("implanted", "pretrained"):
            assert [setting_for(source, task, asked) for task in (documents, domain)] == [asked] * 2  # type: ignore[arg-type]

    def test_a_removal_request_is_about_what_the_model_knows(self) -> None:
        assert [setting_for_request(asked) for asked in (None, "pretrained")] == ["pretrained", "pretrained"]
        with pytest.raises(InputError, match=r"^--setting implanted: a removal request is about text that the model knows already; leave "):
            setting_for_request("implanted")

    def test_a_lab_has_a_setting_of_its_own(self, tiny_lab: Path) -> None:
        source, task = resolve_model(str(tiny_lab)), registry.task("books")
        assert setting_for(source, task, None) == "lab"
        for asked in ("implanted", "pretrained"):
            with pytest.raises(InputError, match=rf"^--setting {asked}: tiny-lab is a lab, whose references are exact already; leave"):
                setting_for(source, task, asked)  # type: ignore[arg-type]


def options(base: Path, corpus: Path, **changes: object) -> Options:
    given = Options(
        methods=["nudging"], tasks=["books", "arxiv", "books-domain"], model=str(base), data=corpus, plugins=[MISBEHAVING], protocol=QUICK
    )
    return replace(given, recipe=RECIPE, **changes)  # type: ignore[arg-type]


@pytest.fixture
def _no_plugin_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_plugins(monkeypatch)


@pytest.mark.usefixtures("_no_plugin_stays")
class TestPlanning:
    def test_cells_name_the_models_to_be_taught_and_nothing_is_taught_yet(self, base: Path, tiny_corpus: Path, tmp_path: Path) -> None:
        cells = plan(options(base, tiny_corpus))[1]
        known = model_fingerprint(base)
        first = {cell.spec.task: cell for cell in reversed(cells)}
        assert {task: cell.spec.setting for task, cell in first.items()} == {
            "books": "implanted",
            "arxiv": "implanted",
            "books-domain": "pretrained",
        }
        assert first["books-domain"].spec.model_fingerprint == known
        assert first["books-domain"].teaching is None
        assert first["books-domain"].model == str(base)
        fingerprints = {first[task].spec.model_fingerprint for task in ("books", "arxiv")}
        assert len(fingerprints) == 2
        assert all(fingerprint[:BASE_DIGITS] == known[:BASE_DIGITS] and len(fingerprint) == 64 for fingerprint in fingerprints - {known})
        assert Path(first["books"].model).is_relative_to(tmp_path / "cache")
        assert not (tmp_path / "cache").exists()
        check_alike([cell.spec for cell in cells], "")

    def test_the_fingerprint_is_of_base_text_and_recipe(self, of_books: Teaching, tiny_corpus: Path) -> None:
        other_text = teaching(Path(of_books.model), tiny_corpus, "arxiv")
        others = [
            replace(of_books, base_fingerprint="f" * 64),
            replace(of_books, recipe=replace(SHORT, lr=1e-3)),
            replace(of_books, recipe=replace(SHORT, seed=1)),
            replace(of_books, protocol=Protocol(method_tokens=10)),
            replace(of_books, splits=other_text.splits),
        ]
        assert len({each.fingerprint for each in (of_books, *others)}) == 6
        assert replace(of_books, protocol=Protocol(limit=5)).fingerprint == of_books.fingerprint
        assert replace(of_books, loading=Loading(device="cuda")).fingerprint == of_books.fingerprint
        assert replace(of_books, loading=Loading(dtype="bfloat16")).fingerprint != of_books.fingerprint

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"setting": "pretrained", "recipe": RECIPE}, "settings for books"),
            ({"recipe": SHORT}, "models for books"),
        ],
    )
    def test_one_task_in_two_ways_is_refused(self, base: Path, tiny_corpus: Path, changes: dict[str, object], what: str) -> None:
        asked = options(base, tiny_corpus, tasks=["books"])
        specs = [cell.spec for each in (asked, replace(asked, **changes)) for cell in plan(each)[1]]  # type: ignore[arg-type]
        with pytest.raises(InputError, match=f"^records of different {what} cannot stand in one leaderboard: "):
            check_alike(specs, "")

    def test_models_taught_from_different_bases_are_refused(
        self, tiny_lm: Callable[..., LanguageModel], tiny_corpus: Path, tmp_path: Path
    ) -> None:
        specs = []
        for task, family in (("books", "gpt_neox"), ("arxiv", "gpt2")):
            folder = shutil.copytree(tiny_lm(family).folder, tmp_path / family / "model")
            specs += [cell.spec for cell in plan(options(folder, tiny_corpus, tasks=[task]))[1]]
        with pytest.raises(InputError, match=r"^records of different models cannot stand"):
            check_alike(specs, "")


@pytest.mark.usefixtures("_no_plugin_stays")
class TestRunning:
    @pytest.fixture
    def cells(self, base: Path, tiny_corpus: Path, tmp_path: Path) -> list[Cell]:
        return plan(options(base, tiny_corpus, tasks=["books", "books-domain"], out=tmp_path / "out"))[1]

    def test_a_whole_run(self, cells: list[Cell]) -> None:
        records = run(cells)
        out = cells[0].out
        of_books: Record = records["books", "retrained", 0]
        assert {task: record.spec.setting for (task, _, _), record in records.items()} == {
            "books": "implanted",
            "books-domain": "pretrained",
        }
        assert of_books.baseline is not None
        assert of_books.baseline.reference_kind == "exact"
        lab = read_lab(Path(cells[0].model))
        cost = of_books.operating_points[0].cost
        assert cost.forward_tokens == cost.backward_tokens == lab.references["books"].training_tokens
        assert cost.flops == of_books.retraining_flops == 6 * lab.parameters * cost.forward_tokens
        assert cost.seconds == lab.references["books"].seconds
        assert records["books", "nudging", 0].status == "ok"
        assert records["books-domain", "retrained", 0].status == "declined"

        built = board(list(records.values()))  # `original` at 0 and `retrained` at 1, or there is no board
        told = markdown(built.model, sections(built))
        assert built.scored_tasks[0].task == "books"
        assert "- **Reference**: exact: the model was taught the forget and retain documents of the task, and taught again in the" in told
        assert "nothing that stands in for one; `--setting implanted` teaches the documents to the model first" in told
        assert (
            "Where the model was taught the documents first, retraining is teaching the reference, 6 x parameters x tokens taught" in told
        )

        shutil.rmtree(Path(cells[0].model))  # with every record there, the models are not needed
        assert missing(cells, out) == []

    def test_a_domain_can_be_implanted_too(self, base: Path, tiny_corpus: Path, tmp_path: Path) -> None:
        asked = options(base, tiny_corpus, tasks=["books-domain"], setting="implanted", out=tmp_path / "out")
        records = run(plan(asked)[1])
        retrained = records["books-domain", "retrained", 0]
        assert (retrained.status, retrained.spec.setting) == ("ok", "implanted")
        assert retrained.baseline is not None
        assert means(retrained.baseline.reference_test)["forget"] > means(retrained.baseline.target_test)["forget"] + 0.3

    def test_cells_that_run_elsewhere_see_to_it_themselves(self, cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runner, "teach", lambda *given: pytest.fail("taught on the machine that hands the cells out"))
        moved = [replace(cell, teaching=replace(cell.teaching, elsewhere=True)) for cell in cells if cell.teaching is not None]
        records = run([cell for cell in moved if cell.spec.method in registry.RESERVED])
        assert records["books", "retrained", 0].status == "ok"
        assert [cell.spec.key() for cell in moved] == [cell.spec.key() for cell in cells if cell.teaching is not None]

    def test_another_model_elsewhere_is_refused(self, cells: list[Cell]) -> None:
        assert cells[0].teaching is not None
        other = replace(cells[0], teaching=replace(cells[0].teaching, elsewhere=True, base_fingerprint="f" * 64))
        with pytest.raises(InputError, match="not the same model as on the machine that asked for it"):
            run([other])

    def test_processes_find_what_was_taught(self, cells: list[Cell]) -> None:
        records = run([cell for cell in cells if cell.spec.method in registry.RESERVED], jobs=2)
        assert records["books", "retrained", 0].status == "ok"

    def test_a_base_that_cannot_be_loaded_ends_the_run_in_one_line(self, cells: list[Cell], tmp_path: Path) -> None:
        assert cells[0].teaching is not None
        gone = replace(cells[0], teaching=replace(cells[0].teaching, model=str(tmp_path / "gone")))
        with pytest.raises(InputError, match="gone: no such model folder"):
            run([gone])
        assert by_cell(cells[0].out) == {}


def test_a_gap_that_cannot_be_told_from_zero_comes_with_the_way_out() -> None:
    near = {"forget": 2.02, "retain": 3.0, "holdout": 3.5, "general": 2.5}
    pretrained = spec().model_copy(update={"setting": "pretrained"})
    built = board([record(pretrained, kind="approximate", reference=near)])
    told = markdown(built.model, sections(built))
    assert "cannot be told from zero; `--setting implanted` teaches the documents to the model first, and has an exact reference." in told
    of_request = pretrained.model_copy(update={"task": REQUEST})
    requested = board([record(of_request, kind="approximate", reference=near)])
    assert "cannot be told from zero." in markdown(requested.model, sections(requested))
    assert all(point.score is None for ranked in built.tasks[0].rows for point in ranked.row.points)


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
