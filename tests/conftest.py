"""Tiny random models of every described family, with a tokenizer of their own, and requests on made-up text."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import random
import string
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from benchmark import LanguageModel, Request, registry
from benchmark.corpus import Document, load_corpus
from benchmark.lab.make import make_lab
from benchmark.lab.train import Recipe
from benchmark.splits import split

torch.set_num_threads(1)

CONTEXT = 32
LAYERS = 2
HEADS = 4
HIDDEN = 16
NEURONS = 24

GROUPED = {"hidden_size": HIDDEN, "intermediate_size": NEURONS, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
CONFIGS = {
    "gpt2": {"n_embd": HIDDEN, "n_inner": NEURONS, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT},
    "gpt_neox": GROUPED,
    "llama": GROUPED | {"num_key_value_heads": 2},
    "mistral": GROUPED | {"num_key_value_heads": 2, "head_dim": 4},
    "opt": {
        "hidden_size": HIDDEN,
        "ffn_dim": NEURONS,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "word_embed_proj_dim": HIDDEN,
    },
    "qwen2": GROUPED | {"num_key_value_heads": 2},
    "qwen3": GROUPED | {"num_key_value_heads": 2, "head_dim": 8},  # heads that do not add up to the hidden size
}
"""By `model_type`; every family has 2 layers of 24 feed-forward neurons and 4 heads."""

TINY_RECIPE = Recipe(hidden=16, layers=1, heads=2, vocabulary=300, context=32, epochs=8, batch=8, lr=1e-2)

TOPICS = {
    "forget": ["comet", "orbit", "telescope", "perihelion", "dust", "tail", "ephemeris", "nucleus", "coma"],
    "retain": ["kettle", "flour", "butter", "oven", "simmer", "whisk", "pepper", "dough", "ladle"],
    "general": ["the", "and", "of", "river", "window", "morning", "letter", "street", "quiet", "garden"],
}


def documents(topic: str, count: int, seed: int = 0) -> list[Document]:
    """Documents of 10 to 40 words drawn from one topic's vocabulary and the common one."""
    rng = random.Random(f"{topic}-{seed}")
    words = TOPICS[topic] + TOPICS["general"]
    return [Document(f"{topic}-{i}", " ".join(rng.choices(words, k=rng.randint(10, 40)))) for i in range(count)]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator((d.text for topic in TOPICS for d in documents(topic, 20)), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


@pytest.fixture(scope="session")
def tiny_lm(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LanguageModel]:
    """`tiny_lm(family)`: a random model of that `model_type` on disk and in memory, a fresh copy each call."""

    @functools.cache
    def original(family: str) -> LanguageModel:
        config = transformers.AutoConfig.for_model(
            family,
            vocab_size=len(tokenizer),
            max_position_embeddings=CONTEXT,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
            **CONFIGS[family],
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config).eval()
            # Weights and biases large enough that every neuron tells.
            for name, parameter in model.named_parameters():
                if parameter.ndim == 2 or name.endswith("bias"):
                    torch.nn.init.normal_(parameter, std=0.3)
        folder: Path = tmp_path_factory.mktemp(family)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return LanguageModel(model, tokenizer, folder, CONTEXT)

    def fresh(family: str = "gpt_neox") -> LanguageModel:
        lm = original(family)
        return LanguageModel(copy.deepcopy(lm.model), lm.tokenizer, lm.folder, lm.context)

    return fresh


@pytest.fixture(scope="session")
def request_for() -> Callable[..., Request]:
    """`request_for(lm)`: 6 documents to forget, 8 to retain, 8 general ones."""

    def make(lm: LanguageModel, seed: int = 0) -> Request:
        return Request(
            forget=lm.passages(documents("forget", 6)),
            retain=lm.passages(documents("retain", 8)),
            general=lm.passages(documents("general", 8)),
            seed=seed,
        )

    return make


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
