"""Fixtures that several test files share: the tiny random models of the conformance suite, and a tiny corpus with a lab trained on it."""

from __future__ import annotations

import itertools
import json
import random
import string
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hub_cache
import pytest
import torch
from cells import planned
from transformers import PreTrainedTokenizerFast

from benchmark import LanguageModel, Request, registry
from benchmark.cell import Cell
from benchmark.check import subjects
from benchmark.check.subjects import CONFIGS, CONTEXT, HEADS, LAYERS, NEURONS, TinyModels, documents, tiny_tokenizer
from benchmark.corpus import load_corpus
from benchmark.implant import CACHE
from benchmark.lab.make import make_lab
from benchmark.lab.train import Recipe
from benchmark.splits import split

__all__ = ["CONFIGS", "CONTEXT", "HEADS", "LAYERS", "NEURONS", "TINY_RECIPE", "documents"]

torch.set_num_threads(1)

TINY_RECIPE = Recipe(hidden=16, layers=1, heads=2, vocabulary=300, context=32, epochs=8, batch=8, lr=1e-2)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens."""
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """A random model of every family."""
    return TinyModels(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_lm(tiny_models: TinyModels) -> Callable[..., LanguageModel]:
    """`tiny_lm(family)`: a random model of that `model_type` on disk and in memory, a fresh copy each call."""

    def fresh(family: str = "gpt_neox") -> LanguageModel:
        return tiny_models.fresh(family)

    return fresh


@pytest.fixture(scope="session")
def request_for() -> Callable[..., Request]:
    """`request_for(lm)`: 6 documents to forget, 8 to retain, 8 general ones."""
    return subjects.request_for


@pytest.fixture
def no_plugin_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test registers is gone after it."""
    for name in ("_methods", "_tasks", "_metrics", "_plugins"):
        registry.methods()
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


@pytest.fixture
def plan(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path) -> Callable[..., list[Cell]]:
    """`plan(folder, methods, tasks)`: cells on the tiny lab, reference rows included."""

    def plan(folder: str, methods: Sequence[str], tasks: Sequence[str] = ("arxiv",)) -> list[Cell]:
        return planned(tiny_lab, tiny_corpus, tmp_path / folder, methods, tasks)

    return plan


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hub_cache.HubCache:
    """An empty hub cache and no network; lay models and data sets out in it."""
    return hub_cache.offline(tmp_path / "hf-home", monkeypatch)


LETTERS = {"arxiv": string.ascii_uppercase, "books": string.ascii_lowercase, "github": string.digits + "()[]{}<>+-*/=", "general": "aeiou"}
"""What the words of each domain of the tiny corpus are made of."""


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three domains and general text, 32 short documents each.

    Every document repeats two words of its own, which a model that has seen it knows and no other model can.
    """
    folder = tmp_path_factory.mktemp("corpus")
    for domain, letters in LETTERS.items():
        rng = random.Random(domain)
        pairs = ["".join(pair) for pair in itertools.product(letters, repeat=3 if domain == "general" else 2)]
        own = iter(rng.sample(pairs, 64))
        lines = []
        for index in range(32):
            words = [next(own), next(own)]
            text = " ".join(rng.choices(words, k=rng.randint(12, 20)))
            lines.append(json.dumps({"id": f"{domain}-{index}", "text": text}))
        (folder / f"{domain}.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_lab(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of seven tiny models trained on `tiny_corpus`, a few seconds' work; use it with `--model` and `--data`."""
    folder = tmp_path_factory.mktemp("made") / "tiny-lab"
    splits = {name: split(task, load_corpus(tiny_corpus)) for name, task in registry.tasks().items()}
    make_lab(splits, TINY_RECIPE, folder, jobs=1, seeds=1, report=lambda progress: None)
    return folder
