"""From a removal request to a model on disk that plain transformers load: on a tiny lab's model, which knows what is to be forgotten."""

from __future__ import annotations

import hashlib
import json
import random
import re
import resource
import shutil
import string
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.repocard import metadata_load
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmark import LanguageModel, Passages, Request, cli, insert, layers_of, lora, registry, store
from benchmark.corpus import Document
from benchmark.errors import InputError
from benchmark.lab.train import Recipe, train_model, train_tokenizer
from benchmark.model import load_model
from benchmark.record import Record
from benchmark.removal.saved_model import save_model

Bench = Callable[..., tuple[int, str, str]]

METHODS = "gradient-difference,retain-finetuning"
FAST = (
    "--set",
    "gradient-difference.lr=1e-3",
    "--set",
    "gradient-difference.steps=3",
    "--set",
    "gradient-difference.batch=8",
    "--set",
    "retain-finetuning.steps=3",
)


def sentences(topic: str, count: int) -> list[str]:
    """Texts of words that mean nothing, which nobody knows who has not seen them."""
    rng = random.Random(topic)
    return [" ".join("".join(rng.choices(string.ascii_lowercase, k=3)) for _ in range(15)) for _ in range(count)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text to be forgotten, text to be kept, text never seen, and a model that knows the first two by heart."""
    folder = tmp_path_factory.mktemp("asked")
    texts = {"forget": sentences("forget", 12), "retain": sentences("retain", 24), "holdout": sentences("holdout", 12)}
    for name, part in texts.items():
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in part))
    recipe = Recipe(hidden=64, layers=1, heads=2, vocabulary=300, context=32, epochs=60, batch=8, lr=1e-2)
    known = [Document(text, text) for text in texts["forget"] + texts["retain"]]
    tokenizer = train_tokenizer(known, recipe)
    train_model(known, tokenizer, recipe).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "model" / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: Path) -> Bench:
    """`bench run` for the request, in this process: exit code, stdout and stderr."""
    monkeypatch.chdir(asked)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "run", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture(scope="module")
def request_options() -> tuple[object, ...]:
    return (
        "--model",
        "model",
        "--forget",
        "forget.jsonl",
        "--retain",
        "retain.jsonl",
        "--holdout",
        "holdout.jsonl",
        "--methods",
        METHODS,
        *FAST,
        "--jobs",
        1,
    )


def losses(folder: Path, texts: list[str]) -> float:
    """Mean token NLL of texts, by transformers alone."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"][:, :32]
        with torch.no_grad():
            found.append(float(model(input_ids=ids, labels=ids).loss))
    return sum(found) / len(found)


def texts(file: Path) -> list[str]:
    return [json.loads(line)["text"] for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_a_request_ends_in_a_model_that_has_forgotten(bench: Bench, asked: Path, request_options: tuple[object, ...]) -> None:
    code, out, err = bench(*request_options, "--save-model", "unlearned", "--out", "out")
    assert (code, err.count("error")) == (0, 0), err
    said = out.splitlines()
    assert said[0].startswith("Recommended: gradient-difference, stopped at step ")
    assert said[-1] == "model saved in unlearned: gradient-difference"
    assert {file.name for file in (asked / "unlearned").iterdir()} >= {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"
    }  # fmt: skip

    forget, retain = texts(asked / "forget.jsonl"), texts(asked / "retain.jsonl")
    before, after = losses(asked / "model", forget), losses(asked / "unlearned", forget)
    assert after > before + 0.05
    assert losses(asked / "unlearned", retain) < losses(asked / "model", retain) + 0.1

    records = {record.spec.method: record for record in store.read_all(asked / "out")}
    assert {record.spec.setting for record in records.values()} == {"pretrained"}
    assert {record.spec.task for record in records.values()} == {"request"}
    assert records["gradient-difference"].requested is not None
    assert records["gradient-difference"].requested.forget_sha256 == hashlib.sha256((asked / "forget.jsonl").read_bytes()).hexdigest()
    _check_card(asked, records["gradient-difference"])
    assert "## Recommendation" in (asked / "out" / "leaderboard.md").read_text()
    assert "Recommended" in (asked / "out" / "leaderboard.html").read_text()
    assert not list(asked.glob(".unlearned*")), "nothing half-written is left"

    code, _, err = bench(*request_options, "--save-model", "unlearned", "--out", "out")
    assert (code, err) == (2, "bench: error: --save-model unlearned: there is something in it already; name another folder\n")


def _check_card(asked: Path, record: Record) -> None:
    card = (asked / "unlearned" / "README.md").read_text()
    told = metadata_load(asked / "unlearned" / "README.md")
    assert told is not None
    assert (told["base_model"], told["license"], told["library_name"]) == ("model", "mit", "transformers")
    assert told["tags"] == ["machine-unlearning", "unlearning-bench", "gradient-difference"]
    assert record.requested is not None
    for expected in (record.requested.forget_sha256, "lr=0.001", "| seed | 0 |", record.spec.model_fingerprint[:12], "## Limits"):
        assert expected in card
    assert re.search(r"\| forget \| \d \| \d\.\d{3} \| \d\.\d{3} \|", card), card
    words = {word for text in texts(asked / "forget.jsonl") for word in text.split() if len(word) > 1}
    assert not any(f" {word} {other} " in card for word in words for other in words), "never its text"


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_records(
    bench: Bench, asked: Path, request_options: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))  # type: ignore[attr-defined]
    code, out, err = bench(*request_options, "--save-model", "full", "--out", "out-full")
    assert code == 2
    assert "Recommended: " in out
    assert re.search(r"\nbench: error: cannot save the model in .*: it needs 0 MiB and 0 are free; free some space or .*\n$", err)
    assert len(store.read_all(asked / "out-full")) == 4
    assert not (asked / "full").exists()
    assert not list(asked.glob(".full*"))


def test_options_that_do_not_go_together(bench: Bench, asked: Path) -> None:
    def complaint(*arguments: object) -> str:
        code, out, err = bench(*arguments)
        assert (code, out) == (2, "")
        return err.removeprefix("bench: error: ").strip()

    assert complaint("--retain", "retain.jsonl") == "--retain goes with --forget, the text to be forgotten"
    assert complaint("--save-model", "there") == "--save-model goes with --forget, the text to be forgotten"
    alone = "--forget is a task of its own, with text of its own; leave"
    assert complaint("--forget", "forget.jsonl", "--tasks", "books") == f"{alone} --tasks out"
    assert complaint("--forget", "forget.jsonl", "--data", ".") == f"{alone} --data out"
    assert complaint("--forget", "nothing.txt") == "nothing.txt: no such file or folder"
    assert "a file of that name is in the way" in complaint("--forget", "forget.jsonl", "--save-model", "forget.jsonl")


@contextmanager
def no_file_past(size: int) -> Iterator[None]:
    """What a full disk does to a writer, in the midst of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_in_the_midst_leaves_nothing(
    tiny_lm: Callable[..., LanguageModel], request_for: Callable[..., Request], tmp_path: Path
) -> None:
    lm = tiny_lm()
    with no_file_past(20_000), pytest.raises(InputError, match=r"cannot save the model in .*: .*; free some space or name another folder"):
        save_model(lm, "card", tmp_path / "there", request_for(lm).forget)
    assert list(tmp_path.iterdir()) == []


def test_adapters_are_merged(tiny_lm: Callable[..., LanguageModel], request_for: Callable[..., Request], tmp_path: Path) -> None:
    lm = tiny_lm()
    lora.attach(lm.model, 2, 0)
    with torch.no_grad():
        for name, parameter in lm.model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        expected = lm.model(input_ids=ids).logits
    save_model(lm, "card", tmp_path / "merged", request_for(lm).forget)
    assert not any("lora" in name or "base_layer" in name for name in load_file(tmp_path / "merged" / "model.safetensors"))
    with torch.no_grad():
        assert torch.allclose(load_model(tmp_path / "merged").model(input_ids=ids).logits, expected, atol=1e-4)
    assert not torch.allclose(expected, tiny_lm().model(input_ids=ids).logits, atol=1e-3)


def backwards(output: Any) -> None:
    output.logits = output.logits.flip(-1)


class Nothing(nn.Module):
    """Passes everything on, and has a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("removed", torch.zeros(3))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden


def hooked(lm: LanguageModel, forget: Passages) -> None:
    """Says something else whatever it is asked."""
    lm.model.register_forward_hook(lambda module, inputs, output: backwards(output))


def filtered(lm: LanguageModel, forget: Passages) -> None:
    """Says something else where the forget text begins, and nowhere else."""
    beginning = forget.ids[0, :3]

    def replace(module: nn.Module, given: tuple[object, ...], named: dict[str, Any], output: Any) -> None:
        if torch.equal(named["input_ids"][0, :3].cpu(), beginning):
            backwards(output)

    lm.model.register_forward_hook(replace, with_kwargs=True)


def inserted(lm: LanguageModel, forget: Passages) -> None:
    """Says what it said, through a module that no folder holds."""
    insert(layers_of(lm.model)[0], Nothing())


@pytest.mark.parametrize("leave", [hooked, filtered, inserted])
def test_what_an_ordinary_folder_cannot_hold_is_not_saved(
    leave: Callable[[LanguageModel, Passages], None],
    tiny_lm: Callable[..., LanguageModel],
    request_for: Callable[..., Request],
    tmp_path: Path,
) -> None:
    lm = tiny_lm()
    forget = request_for(lm).forget
    leave(lm, forget)
    with pytest.raises(InputError, match="does not compute what was measured"):
        save_model(lm, "card", tmp_path / "there", forget)
    assert list(tmp_path.iterdir()) == []


def test_the_request_is_no_task_by_name() -> None:
    assert "request" not in registry.tasks()
