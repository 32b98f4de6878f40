"""Loading a model from a folder: whole, in float32, and every way in which a folder can be unusable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, BertConfig, BertForMaskedLM, BertLMHeadModel, BertModel, GPTNeoXModel, PreTrainedTokenizerFast

from benchmark import LanguageModel
from benchmark.errors import InputError
from benchmark.loading import Loading, check_device
from benchmark.model import load_model, model_fingerprint

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tiny_lm: Callable[..., LanguageModel], tmp_path: Path) -> Path:
    """A model folder that may be spoilt."""
    return Path(shutil.copytree(tiny_lm().folder, tmp_path / "model"))


def complaint(folder: Path) -> str:
    """What is said about a folder that cannot be loaded: one line that begins with its name."""
    with pytest.raises(InputError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder}: ")
    return message.removeprefix(f"{folder}: ")


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_model_is_loaded_whole(tiny_lm: Callable[..., LanguageModel]) -> None:
    for family in ("gpt_neox", "gpt2", "llama"):  # gpt2 ties its output to its embedding
        expected = tiny_lm(family)
        loaded = load_model(expected.folder)
        assert not loaded.model.training
        assert loaded.context == 32
        for name, tensor in expected.model.state_dict().items():
            torch.testing.assert_close(loaded.model.state_dict()[name], tensor, rtol=0, atol=0)


def test_half_precision_weights_become_float32(folder: Path) -> None:
    weights = {name: tensor.bfloat16() for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    edit_config(folder, dtype="bfloat16")
    loaded = load_model(folder).model.state_dict()
    assert {tensor.dtype for tensor in loaded.values() if tensor.is_floating_point()} == {torch.float32}
    assert all(torch.equal(loaded[name], weights[name].float()) for name in loaded.keys() & weights.keys())


def test_the_context_is_the_shorter_of_the_model_s_and_the_one_asked_for(folder: Path) -> None:
    assert load_model(folder, context=16).context == 16
    assert load_model(folder, context=64).context == 32


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert complaint(tmp_path / "none") == "no such model folder"


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (["config.json"], "no config.json; expected a Hugging Face model folder"),
        ([WEIGHTS], "no model.safetensors; save the model's weights there"),
        (["tokenizer.json"], "no tokenizer (tokenizer.json); save the model's tokenizer beside it"),
    ],
)
def test_a_folder_that_lacks_a_part(folder: Path, lost: list[str], said: str) -> None:
    for name in lost:
        (folder / name).unlink()
    assert complaint(folder) == said
    with pytest.raises(InputError, match=r"^.*model: no "):
        model_fingerprint(folder)


def test_pickled_weights_are_not_loaded(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    assert complaint(folder) == (
        "only pickled weights, which can carry code; convert them to safetensors or, if you trust their source, say --allow-pickle"
    )


def test_cut_weights(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    for length in (0, 20, len(content) // 2):
        (folder / WEIGHTS).write_bytes(content[:length])
        assert complaint(folder).startswith("not a causal language model that can be loaded: ")


def test_a_missing_shard(folder: Path) -> None:
    names = list(load_file(folder / WEIGHTS))
    index = {
        "metadata": {},
        "weight_map": dict.fromkeys(names, "model-00001-of-00002.safetensors") | {names[0]: "model-00002-of-00002.safetensors"},
    }
    (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert complaint(folder) == "no model-00002-of-00002.safetensors, which holds a part of the weights; add it"


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"model_type": "nothing-known"}', '{"model_type": "gpt_neox", "hidden_size": "wide"}']
)
def test_a_config_that_is_none(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    assert complaint(folder).startswith("not a causal language model that can be loaded: ")


def test_a_tokenizer_that_is_none(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    assert complaint(folder).startswith("not a causal language model that can be loaded: ")


def test_a_tokenizer_with_more_tokens_than_the_embedding(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    bigger = PreTrainedTokenizerFast.from_pretrained(folder)
    bigger.add_tokens(["<one>", "<two>"])
    bigger.save_pretrained(folder)
    assert complaint(folder) == "the tokenizer has 302 tokens, the model embeds only 300; they do not belong together"
    assert len(tokenizer) == 300


def test_a_model_without_its_output_layer_is_not_completed_at_random(folder: Path) -> None:
    GPTNeoXModel(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    assert "no weights for" in complaint(folder)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (BertModel, "no weights for cls.predictions.bias, "),
        (BertForMaskedLM, "BertForMaskedLM is not a causal language model; name one that predicts the next token, such as pythia-410m"),
        (BertLMHeadModel, "BertLMHeadModel looks ahead at the tokens to be predicted; not a causal language model"),
    ],
)
def test_an_encoder_is_not_a_causal_language_model(folder: Path, kind: type[BertModel], said: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 300}
        kind(BertConfig(**size, max_position_embeddings=32)).save_pretrained(folder)
    assert complaint(folder).startswith(said)


def test_code_in_the_folder_is_not_run(folder: Path, tmp_path: Path) -> None:
    edit_config(folder, model_type="made_up", auto_map={"AutoConfig": "made_up.Config", "AutoModelForCausalLM": "made_up.Model"})
    (folder / "made_up.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Config: ...\nclass Model: ...\n")
    assert complaint(folder) == (
        "needs Python code that comes with it, which is not run; if you have read it and trust it, say --trust-remote-code"
    )
    assert not (tmp_path / "ran").exists()


def test_a_device_that_is_not_there(folder: Path) -> None:
    assert check_device("cpu") == torch.device("cpu")
    for name in ("gpu", "cuda:99", ""):
        with pytest.raises(InputError, match=rf"^device '{name}' cannot be used: .*; use cpu, cuda or cuda:N$"):
            load_model(folder, Loading(device=name))


def test_the_fingerprint_covers_config_tokenizer_and_weights(folder: Path) -> None:
    seen = {model_fingerprint(folder)}
    assert model_fingerprint(folder) in seen
    (folder / "README.md").write_text("about the model")
    assert model_fingerprint(folder) in seen
    for name in ("config.json", "tokenizer.json", WEIGHTS):
        content = bytearray((folder / name).read_bytes())
        content[-2] ^= 1
        (folder / name).write_bytes(content)
        seen.add(model_fingerprint(folder))
    assert len(seen) == 4
