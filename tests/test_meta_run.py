"""`bench meta` on a tiny lab of two seeds: made, measured, put on record, gone on with."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import TINY_RECIPE
from transformers import PreTrainedModel

from benchmark import LanguageModel, cli, registry
from benchmark.corpus import load_corpus
from benchmark.errors import InputError
from benchmark.lab import MANIFEST, read_lab
from benchmark.lab.make import make_lab
from benchmark.loading import ON_CPU
from benchmark.losses import cross_entropy
from benchmark.meta.judging import on_tasks
from benchmark.meta.making import Workshop
from benchmark.meta.quantities import asked, quantities, untried
from benchmark.meta.record import Trial, find, read_all
from benchmark.meta.run import missing, run
from benchmark.meta.trials import Design, Effort, design_for, identity, trials
from benchmark.model import load_model
from benchmark.snapshot import tensors
from benchmark.splits import split
from benchmark.yardstick import yardstick_for

TASKS = ("books", "books-domain")
RECIPE = dataclasses.replace(TINY_RECIPE, epochs=4)

PLUGIN = '''
"""What a model's loss says, the same turned round, and nothing."""

from benchmark import Metric, MetricValue


def loss(subject):
    return MetricValue(agg_value=-float(subject.forget.log_probability.sum()))


def likelihood(subject):
    return MetricValue(agg_value=float(subject.forget.log_probability.sum()))


def nothing(subject):
    return MetricValue(agg_value=1.0)


def card(name, measure, knows="lower", axis="forgetting"):
    return Metric(name=name, axis=axis, summary="s", unit="u", low=None, high=None, knows=knows, source="x", measure=measure)


ORACLE = card("oracle", loss)
INVERTED = card("inverted", likelihood)
CONSTANT = card("constant", nothing)
ATTACKING = card("attacking", loss, axis="robustness")
SILENT = card("silent", nothing, knows="neither")
OF_TEXT = card("of-text", nothing, axis="validity")
'''

CHOSEN = ("forget_nll", "reference_distance", "oracle", "inverted", "constant")


@pytest.fixture(scope="module")
def lab(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a target and of the references of two tasks."""
    folder = tmp_path_factory.mktemp("made") / "two-seeds"
    splits = {name: split(registry.task(name), load_corpus(tiny_corpus)) for name in TASKS}
    make_lab(splits, RECIPE, folder, jobs=1, seeds=2, report=lambda progress: None)
    return folder


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    registry.methods()
    for name in ("_methods", "_metrics", "_plugins"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    file = tmp_path / "metrics_of_the_test.py"
    file.write_text(PLUGIN)
    registry.load_plugin(file)
    return file


@pytest.fixture
def asks(lab: Path, tiny_corpus: Path, plugin: Path) -> Design:
    return design_for(str(lab), tiny_corpus, [plugin], quick=True, scratch=False)


def workshop(asks: Design, effort: Effort, out: Path, task: str = "books") -> Workshop:
    yardstick = yardstick_for(task, asks.model, 1, asks.data, asks.protocol, ON_CPU, ())
    return Workshop(task, asks.lab(0), asks.splits(task), yardstick.texts, effort, out)


def same(first: LanguageModel, second: LanguageModel) -> bool:
    return all(torch.equal(tensor, tensors(second.model)[name]) for name, tensor in tensors(first.model).items())


def names(asks: Design, tasks: tuple[str, ...] = TASKS) -> list[str]:
    return [trial.name for part in trials(asks, tasks) for trial in part]


def test_every_model_of_the_lab_and_the_series_made_from_them(asks: Design) -> None:
    found = names(asks, ("books-domain",))
    assert len(found) == len(set(found)) == 2 * 10
    # the model without some of the books knows most of the domain: nobody can say
    assert [name for name in found if "seed-1" in name] == [
        "books-domain--target--seed-1",
        "books-domain--without-books-domain--seed-1",
        "books-domain--without-books-domain--seed-1--interpolated-0.5",
        "books-domain--without-books-domain--seed-1--taught-0",
        "books-domain--without-books-domain--seed-1--taught-0.5",
        "books-domain--without-books-domain--seed-1--taught-1",
        "books-domain--target--seed-1--unlearned",
        "books-domain--target--seed-1--unlearned-quantised",
        "books-domain--target--seed-1--unlearned-relearned",
        "books-domain--without-books-domain--seed-1--relearned",
    ]
    with_scratch = dataclasses.replace(asks, scratch=True)
    assert set(names(with_scratch)) - set(names(asks)) == {
        f"{task}--without-{task}--seed-{seed}--scratch-0.5" for task in TASKS for seed in (0, 1)
    }


def test_a_trial_from_beginning_to_end(asks: Design, tmp_path: Path) -> None:
    planned, chosen = trials(asks, ["books"]), asked(CHOSEN)
    told: list[Trial] = []
    todo = missing(asks, planned, chosen, tmp_path)
    run(todo, 1, told.append)
    assert [trial.name for trial in told] == names(asks, ("books",))
    assert missing(asks, planned, chosen, tmp_path) == []
    records = read_all(tmp_path)
    found = {each.metric: each.qualities for each in on_tasks(records)}
    assert {name: found[name].faithfulness for name in ("oracle", "forget_nll", "constant", "inverted")} == {
        "oracle": 1.0,
        "forget_nll": 1.0,
        "constant": 0.5,
        "inverted": 0.0,
    }
    assert found["constant"].quantised is found["constant"].relearned is None
    for each in records:
        assert each.nll["forget"] == each.values["forget_nll"].agg_value or each.trial.treatment == "interpolated"

    more = missing(asks, planned, asked([*CHOSEN, "exact_memorization"]), tmp_path)
    assert {names for part in more for names in part.lacking} == {frozenset({"exact_memorization"})}
    run(more[:1], 1, told.append)
    wider, before = find(tmp_path, planned[0][0]), next(each for each in records if each.trial == planned[0][0])
    assert wider is not None
    assert set(wider.cards) == {*CHOSEN, "exact_memorization"}
    assert wider.values.items() > before.values.items()


def test_attacks_are_not_measured_where_nothing_is_made_of_them(asks: Design, tmp_path: Path) -> None:
    todo = missing(asks, trials(asks, ["books"]), asked(["attacking", "oracle"]), tmp_path)
    lacking = {trial.treatment: names for part in todo for trial, names in zip(part.trials, part.lacking, strict=True)}
    assert {treatment for treatment, names in lacking.items() if "attacking" in names} == {"none", "interpolated", "taught"}
    assert all("oracle" in names for names in lacking.values())
    assert missing(asks, trials(asks, ["books"])[3:4], asked(["attacking"]), tmp_path) == []


@pytest.mark.slow
def test_processes_find_the_same(asks: Design, tmp_path: Path) -> None:
    planned, chosen = [part[:1] for part in trials(asks, ["books"])[:3:2]], asked(["forget_nll", "oracle"])
    for folder, jobs in (("one", 1), ("two", 2)):
        run(missing(asks, planned, chosen, tmp_path / folder), jobs, lambda trial: None)
    assert read_all(tmp_path / "one") == read_all(tmp_path / "two") != []


def test_another_model_is_measured_again(asks: Design, tmp_path: Path) -> None:
    planned = trials(asks, ["books"])[2:3]
    run(missing(asks, planned, asked(["forget_nll"]), tmp_path), 1, lambda trial: None)
    longer = dataclasses.replace(asks, effort=dataclasses.replace(asks.effort, lesson=3))
    (part,) = missing(longer, planned, asked(["forget_nll"]), tmp_path)
    assert part.trials == tuple(planned[0])
    before = find(tmp_path, planned[0][1])
    run([part], 1, lambda trial: None)
    after = find(tmp_path, planned[0][1])
    assert before is not None
    assert after is not None
    assert before.identity != after.identity == identity(longer, planned[0][1])
    assert before.values != after.values


@pytest.mark.parametrize("treatment", ["interpolated", "taught", "unlearned", "unlearned-quantised", "unlearned-relearned", "relearned"])
def test_models_are_the_same_each_time(asks: Design, tmp_path: Path, treatment: str) -> None:
    trial = next(trial for part in trials(asks, ["books"]) for trial in part if trial.treatment == treatment)
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(tensors(workshop(asks, asks.effort, tmp_path).make(trial, identity(asks, trial)).model))
    assert all(torch.equal(tensor, models[1][name]) for name, tensor in models[0].items())
    untouched = tensors(load_model(asks.lab(0) / trial.model).model)
    assert not all(torch.equal(tensor, models[0][name]) for name, tensor in untouched.items())


def test_the_ends_of_the_way_are_reference_and_target(asks: Design, tmp_path: Path) -> None:
    here = workshop(asks, asks.effort, tmp_path)
    for share, folder in ((0.0, "without-books"), (1.0, "target")):
        model, end = tensors(here.interpolated(share).model), tensors(load_model(asks.lab(0) / folder).model)
        assert all(torch.equal(tensor, end[name]) for name, tensor in model.items())


def test_who_is_taught_more_knows_more(asks: Design, tmp_path: Path) -> None:
    here = workshop(asks, Effort(lesson=30), tmp_path)
    models = [here.taught(share) for share in (0.0, 0.5, 1.0)]
    with torch.no_grad():
        losses = [cross_entropy(lm, here.texts[0]).item() for lm in models]
    assert losses[0] > losses[1] > losses[2]


def test_trained_from_scratch_once(asks: Design, tmp_path: Path) -> None:
    trial = Trial(task="books", model="without-books", seed=0, treatment="scratch", share=0.5)
    of = identity(asks, trial)
    first = workshop(asks, asks.effort, tmp_path).make(trial, of)
    (file,) = tmp_path.glob("*/model.safetensors")
    made = file.stat().st_mtime_ns
    again = workshop(asks, asks.effort, tmp_path).make(trial, of)
    assert file.stat().st_mtime_ns == made
    assert same(first, again)


def test_trained_from_scratch_again_once_the_lab_is(asks: Design, tmp_path: Path) -> None:
    trial = Trial(task="books", model="without-books", seed=0, treatment="scratch", share=0.5)
    retrained = tmp_path / "retrained"
    shutil.copytree(asks.lab(0), retrained)
    lab = read_lab(retrained).model_copy(update={"recipe": read_lab(asks.lab(1)).recipe})  # as if from the other training's seed
    (retrained / MANIFEST).write_text(lab.model_dump_json())
    shutil.copytree(asks.lab(1) / "without-books", retrained / "without-books", dirs_exist_ok=True)
    designs = asks, design_for(str(retrained), asks.data, list(asks.plugins), quick=True, scratch=False)
    made = [workshop(design, design.effort, tmp_path / "kept").make(trial, identity(design, trial)) for design in designs]
    assert len(list((tmp_path / "kept").glob(f"{trial.name}--*"))) == 2
    assert not same(*made)


def test_a_training_that_was_broken_off_is_not_taken_for_a_model(asks: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(task="books", model="without-books", seed=0, treatment="scratch", share=0.5)
    make = partial(workshop(asks, asks.effort, tmp_path).make, trial, identity(asks, trial))

    def broken_off(model: PreTrainedModel, folder: Path) -> None:
        model.config.save_pretrained(folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PreTrainedModel, "save_pretrained", broken_off)
        with pytest.raises(KeyboardInterrupt):
            make()
    assert same(make(), make())


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_every_seed_is_held_against_another_and_every_seed_is_held_against(asks: Design, seeds: int) -> None:
    lab = asks.source.lab
    assert lab is not None
    design = dataclasses.replace(asks, source=dataclasses.replace(asks.source, lab=lab.model_copy(update={"seeds": seeds})))
    others = [design.other(seed) for seed in range(seeds)]
    assert all(seed != other for seed, other in enumerate(others))
    assert sorted(others) == list(range(seeds))
    assert {trial.seed for part in trials(design, ["books"]) for trial in part} == set(range(seeds))


def test_what_is_tried(plugin: Path) -> None:
    assert list(quantities())[:2] == ["forget_nll", "reference_distance"]
    assert {"oracle", "exact_memorization"} <= set(quantities())
    assert {"silent", "of-text"} <= set(untried())
    assert not set(untried()) & set(quantities())
    assert asked(["all"]) == quantities()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("orcle", "unknown metric that can be tried 'orcle'; did you mean 'oracle'?"),
        ("silent", "metric 'silent' says nothing of what a model knows: there is nothing to try"),
        ("of-text", "metric 'of-text' says nothing of what a model knows: there is nothing to try"),
    ],
)
def test_what_cannot_be_tried(plugin: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        asked([name])
    assert str(error.value) == said


def test_a_lab_of_one_seed_and_a_model_that_is_no_lab(tiny_lab: Path, tiny_corpus: Path, lab: Path) -> None:
    with pytest.raises(InputError, match=r"a lab of one training seed; metrics are tried on two and more: `bench lab train --seeds 2`"):
        design_for(str(tiny_lab), tiny_corpus, [], quick=True, scratch=False)
    with pytest.raises(InputError, match="the truth about metrics is known of labs alone"):
        design_for(str(lab / "target"), tiny_corpus, [], quick=True, scratch=False)


def test_the_command(asks: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def bench(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "meta", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    options = ("--model", asks.model, "--data", asks.data, "--quick", "--out", tmp_path, "--jobs", 1, "--tasks", "books")
    code, shown, told = bench(*options, "--metrics", "forget_nll")
    assert code == 0
    assert "[22/22] books--without-books--seed-1--relearned; " in told
    assert (tmp_path / "metrics.md").read_text().strip() == shown.strip()
    files = {name: (tmp_path / name).read_bytes() for name in ("metrics.md", "metrics.csv")}
    code, _, told = bench(*options, "--metrics", "forget_nll")
    assert (code, "22 models, 0 to be measured; " in told) == (0, True)
    assert files == {name: (tmp_path / name).read_bytes() for name in files}
    for wrong, said in (
        (("--metrics", "orakle"), "unknown metric that can be tried 'orakle'; did you mean"),
        (("--tasks", "boks"), "unknown task 'boks'; did you mean 'books'?"),
        (("--tasks", "github"), "no reference for task 'github'; it has books, books-domain"),
        (("--metrics", ","), "--metrics: no name given"),
    ):
        code, shown, told = bench(*options, *wrong)
        assert (code, shown) == (2, "")
        assert said in told
        assert told.count("\n") == 1
