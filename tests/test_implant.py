"""The implanted setting: which setting a task has, the cells that come of it, and what the board says of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cells import MISBEHAVING, QUICK, by_cell, run
from records import record, spec
from teachings import RECIPE, SHORT, teaching

from benchmark import LanguageModel, registry, runner
from benchmark.alike import check_alike
from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.implant import BASE_DIGITS, CACHE, Teaching, setting_for, setting_for_request
from benchmark.lab import read_lab
from benchmark.leaderboard import board
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.markdown import markdown
from benchmark.loading import Loading
from benchmark.model import model_fingerprint
from benchmark.plan import Options, plan
from benchmark.record import Protocol, Record
from benchmark.runner import missing
from benchmark.scores import means
from benchmark.source import resolve_model
from benchmark.task import REQUEST


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))


@pytest.fixture
def base(tiny_lm: Callable[..., LanguageModel]) -> Path:
    return tiny_lm().folder


@pytest.fixture
def of_books(base: Path, tiny_corpus: Path) -> Teaching:
    return teaching(base, tiny_corpus)


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


@pytest.mark.usefixtures("no_plugin_stays")
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
            replace(of_books, task=replace(of_books.task, removes="domain")),
        ]
        assert len({each.fingerprint for each in (of_books, *others)}) == 7
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


@pytest.mark.usefixtures("no_plugin_stays")
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
