"""General utility through lm-eval: the answers are the model's own, and nothing that is no answer counts as a wrong one."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_cache import offline

from benchmark import LanguageModel, registry, utility
from benchmark.corpus import load_corpus
from benchmark.errors import InputError
from benchmark.lab import SHIPPED, TARGET
from benchmark.loading import Loading
from benchmark.model import load_model
from benchmark.splits import split
from benchmark.utility import FOLDER, PACKAGED, items
from benchmark.utility.results import ask, results, standard_error
from benchmark.utility_result import UtilityScore

CORPUS = registry.task("arxiv").corpus


def given(task: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (FOLDER / f"{task}.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def target() -> LanguageModel:
    return load_model(SHIPPED / TARGET)


@pytest.fixture(scope="module")
def answered(target: LanguageModel):
    return ask(target, PACKAGED)


class TestItems:
    def test_the_files_are_made_from_the_corpus(self) -> None:
        for name, content in items.files(load_corpus(CORPUS)).items():
            assert (FOLDER / name).read_text("utf-8") == content

    def test_no_method_sees_their_documents_and_no_task_removes_them(self) -> None:
        used = utility.held_back()
        assert used == {item["document"] for task in PACKAGED for item in given(task)}
        for task in registry.tasks().values():
            splits = split(task, load_corpus(CORPUS))
            seen = {document.id for part in (splits.forget, splits.retain, splits.general) for document in part}
            removed = {document.id for document in splits.trained} - {document.id for document in splits.reference}
            assert not used & (seen | removed)

    def test_right_endings_are_the_documents_own_and_wrong_ones_are_not(self) -> None:
        texts = {document.id: document.text for document in load_corpus(CORPUS).documents("general")}
        orders = given("general_word_order")
        assert {item["label"] for item in orders} == {0, 1, 2, 3}
        for item in orders:
            there = [f"{item['context']} {ending}" in texts[item["document"]] for ending in item["endings"]]
            assert there == [index == item["label"] for index in range(4)]
            assert len({" ".join(sorted(ending.split())) for ending in item["endings"]}) == 1
        assert all(f"{item['context']}{item['word']}" in texts[item["document"]] for item in given("general_last_word"))


class TestAnswers:
    def test_accuracies_are_those_computed_by_hand(self, target: LanguageModel, answered) -> None:
        exact = target.copy()
        exact.model.double()

        def told(context: str, continuation: str) -> tuple[float, bool]:
            start = exact.tokenizer(context)["input_ids"]
            ids = exact.tokenizer(context + continuation)["input_ids"]
            with torch.inference_mode():
                logits = exact.model(torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
            predicted = list(range(len(start), len(ids)))
            likelihood = sum(float(logits[place - 1, ids[place]]) for place in predicted)
            return likelihood, all(int(logits[place - 1].argmax()) == ids[place] for place in predicted)

        words = [float(told(item["context"], item["word"])[1]) for item in given("general_last_word")]
        orders = []
        for item in given("general_word_order"):
            likelihoods = [told(item["context"], f" {ending}")[0] for ending in item["endings"]]
            orders.append(float(likelihoods.index(max(likelihoods)) == item["label"]))
        assert list(answered["general_last_word"].values["acc"]) == words
        assert list(answered["general_word_order"].values["acc"]) == orders
        found = results(answered)
        for name, expected in (("general_last_word", words), ("general_word_order", orders)):
            score = found[name].scores["acc"]
            assert score.value == pytest.approx(np.mean(expected))
            assert score.stderr == pytest.approx(np.std(expected, ddof=1) / math.sqrt(len(expected)))
            assert (score.change, score.change_stderr, score.higher_is_better) == (None, None, True)
            assert (found[name].items, found[name].reason) == (len(expected), None)

    def test_the_lab_is_well_above_chance(self, answered) -> None:
        for name, chance in (("general_word_order", 1 / items.CHOICES), ("general_last_word", 0.01)):
            score = results(answered)[name].scores["acc"]
            assert score.value - 2.5 * score.stderr > chance

    def test_batch_size_does_not_matter(self, target: LanguageModel, answered) -> None:
        from benchmark.utility.answers import answer

        assert answer(target, "general_word_order", batch=5).values == answered["general_word_order"].values

    def test_smaller_batches_are_tried_where_memory_runs_out(self, target: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
        from benchmark.utility import answers

        whole, tried = answers._InMemory._model_call, []

        def call(self: object, inps: torch.Tensor) -> torch.Tensor:
            tried.append(len(inps))
            if len(inps) > room:
                raise torch.OutOfMemoryError("tried to allocate 80 GiB")
            return whole(self, inps)

        monkeypatch.setattr(answers._InMemory, "_model_call", call)
        room = 5
        few = answers.answer(target, "general_last_word", limit=10)
        assert few.items == len(few.values["acc"]) == 10
        assert tried[:3] == [10, 8, 4]
        room = 0
        result = results(ask(target, ["general_last_word"]))["general_last_word"]
        assert result.reason == "OutOfMemoryError: tried to allocate 80 GiB"

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
    def test_on_a_gpu_the_answers_are_the_same(self, answered) -> None:
        lm = load_model(SHIPPED / TARGET, Loading(device="cuda"))
        found = ask(lm, PACKAGED)
        for name in PACKAGED:
            same = np.mean(np.equal(found[name].values["acc"], answered[name].values["acc"]))
            assert same >= 0.97, name  # sums in another order may tip an item that is all but undecided

    def test_the_model_and_the_generators_stay_as_they_were(self, target: LanguageModel, capfd: pytest.CaptureFixture[str]) -> None:
        lm = target.copy()
        lm.model.train()
        before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
        tokenizer = repr(lm.tokenizer)
        states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
        ask(lm, ["general_last_word"])
        assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
        assert all(module.training for module in lm.model.modules())
        assert all(torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())
        assert repr(lm.tokenizer) == tokenizer
        assert "tie_weights" not in vars(lm.model)
        assert capfd.readouterr() == ("", "")

    def test_what_is_not_finite_is_no_answer(self, target: LanguageModel, answered) -> None:
        lm = target.copy()
        with torch.no_grad():
            lm.model.get_output_embeddings().weight.fill_(math.nan)
        found = ask(lm, PACKAGED, target=answered)
        for name, result in results(found, answered).items():
            assert result.scores == {}
            assert result.reason is not None
            assert result.reason.endswith("log-likelihoods are not finite, such as nan"), name

    def test_an_item_that_does_not_fit_is_no_answer(self, tiny_lm: Callable[..., LanguageModel]) -> None:
        lm = tiny_lm()
        found = ask(lm, PACKAGED)
        for result in results(found).values():
            assert result.reason is not None
            assert result.reason.startswith("Unusable: an item needs ")
            assert f"the model's context is {lm.context}" in result.reason
        again = results(ask(lm, PACKAGED, target=found), found)
        assert all(str(result.reason).startswith("not tried, as the target failed: Unusable") for result in again.values())


class TestChanges:
    def test_the_target_does_not_differ_from_itself(self, answered) -> None:
        for result in results(answered, answered).values():
            assert [(score.change, score.change_stderr) for score in result.scores.values()] == [(0.0, 0.0)]

    def test_they_are_of_pairs(self, target: LanguageModel, answered) -> None:
        lm = target.copy()
        with torch.no_grad():
            for parameter in lm.model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        found = ask(lm, PACKAGED, target=answered)
        score: UtilityScore = results(found, answered)["general_word_order"].scores["acc"]
        mine, theirs = (np.array(each["general_word_order"].values["acc"], dtype=float) for each in (found, answered))
        assert score.change == pytest.approx((mine - theirs).mean())
        assert score.change != 0
        assert score.change_stderr == pytest.approx((mine - theirs).std(ddof=1) / math.sqrt(len(mine)))

    def test_a_metric_that_is_no_number_takes_nothing_else_with_it(self, answered) -> None:
        spoilt = dataclasses.replace(answered["general_last_word"], aggregate={"acc": lambda values: {"f1": 0.5}})
        found = results({**answered, "general_last_word": spoilt})
        assert str(found["general_last_word"].reason).startswith("TypeError: ")
        assert found["general_word_order"].reason is None

    def test_the_error_of_a_mean_of_many_is_nearly_the_familiar_one(self) -> None:
        values = np.random.default_rng(0).normal(size=5000).tolist()
        assert standard_error(np.mean, values) == pytest.approx(np.std(values, ddof=1) / math.sqrt(5000), rel=0.15)
        assert standard_error(np.mean, [1.0]) is None


class TestNames:
    def test_the_packaged_ones_unless_told_otherwise(self) -> None:
        assert utility.asked(None) == PACKAGED == ("general_last_word", "general_word_order")
        assert utility.asked("none") == ()
        assert utility.asked("hellaswag, arc_easy,hellaswag") == ("arc_easy", "hellaswag")

    @pytest.mark.parametrize("names", ["", ",", "none,arc_easy"])
    def test_nonsense_is_refused(self, names: str) -> None:
        with pytest.raises(InputError, match=r"--utility .*: name tasks of lm-eval separated by commas"):
            utility.asked(names)

    def test_the_packaged_ones_are_known_without_lm_eval(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "benchmark.utility.answers", None)
        utility.check(PACKAGED)


class TestLmEvalsOwn:
    @pytest.mark.slow
    def test_an_unknown_one_is_refused_with_the_nearest_name(self) -> None:
        with pytest.raises(InputError, match=r"^--utility helaswag: unknown task of lm-eval; did you mean 'hellaswag'\?$"):
            utility.check(("helaswag",))

    @pytest.mark.slow
    def test_a_group_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"^--utility mmlu: a group of lm-eval's tasks; name the tasks in it that you want$"):
            utility.check(("mmlu",))

    @pytest.mark.parametrize("said", [True, False], ids=["offline by the environment", "a hub that does not answer"])
    def test_data_that_cannot_be_had_is_told_at_once(self, said: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        offline(tmp_path, monkeypatch)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", said)
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", said)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(
            InputError, match=r"^--utility arc_easy: cannot be loaded: .*allenai/ai2_arc.*without a network use general_last"
        ):
            utility.check(("arc_easy",))

    def test_lambada_is_what_lm_eval_says_it_is(self, target: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
        import datasets
        from lm_eval.api.metrics import perplexity

        from benchmark.utility import answers

        rows = [{"text": f"{item['context']}{item['word']}"} for item in given("general_last_word")[:12]]
        asked = []

        def load_dataset(path: str, **options: object) -> datasets.DatasetDict:
            asked.append(path)
            return datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})

        monkeypatch.setattr("datasets.load_dataset", load_dataset)
        monkeypatch.setattr(answers, "_answers", lambda endpoint: True)
        answers.load.cache_clear()
        found = ask(target, ["lambada_openai", "general_last_word"], limit=12)
        answers.load.cache_clear()
        assert asked == ["EleutherAI/lambada_openai"]
        scores = results(found)["lambada_openai"].scores
        assert set(scores) == {"acc", "perplexity"}
        assert found["lambada_openai"].values["acc"] == found["general_last_word"].values["acc"]
        likelihoods = found["lambada_openai"].values["perplexity"]
        assert scores["perplexity"].value == pytest.approx(math.exp(-np.mean(likelihoods)))
        left_out = [perplexity([*likelihoods[:index], *likelihoods[index + 1 :]]) for index in range(12)]
        assert scores["perplexity"].stderr == pytest.approx(math.sqrt(11 / 12 * np.sum((left_out - np.mean(left_out)) ** 2)))
        assert (scores["perplexity"].higher_is_better, scores["acc"].higher_is_better) == (False, True)

    @pytest.mark.parametrize(("tokens", "harmed", "reason"), [(8, False, None), (124, False, "an item needs"), (8, True, "not finite")])
    def test_generated_answers_are_watched_too(
        self, target: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: int, harmed: bool, reason: str | None
    ) -> None:
        from benchmark.utility import answers

        (tmp_path / "rows.py").write_text(
            "from datasets import Dataset\n"
            "def rows(**given):\n"
            "    return {'test': Dataset.from_list([{'text': 'The lower air must be', 'word': 'moist'}] * 3)}\n"
        )
        (tmp_path / "spoken.yaml").write_text(
            "task: spoken\ncustom_dataset: !function rows.rows\ntest_split: test\noutput_type: generate_until\n"
            f"doc_to_text: text\ndoc_to_target: word\ngeneration_kwargs: {{until: ['.'], max_gen_toks: {tokens}}}\n"
            "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\nmetadata: {version: 1.0}\n"
        )
        monkeypatch.setattr(answers, "_file", lambda name: tmp_path / "spoken.yaml")
        monkeypatch.setattr(answers, "_answers", lambda endpoint: True)
        answers.load.cache_clear()
        lm = target.copy()
        if harmed:
            with torch.no_grad():
                lm.model.get_output_embeddings().weight.fill_(math.nan)
        result = results(ask(lm, ["spoken"]))["spoken"]
        answers.load.cache_clear()
        if reason is None:
            assert (result.reason, result.items, set(result.scores)) == (None, 3, {"exact_match"})
        else:
            assert reason in str(result.reason)
            assert result.scores == {}
