"""At what precision and where models are loaded, and what of a stranger's folder is trusted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import import_utils

from benchmark import LanguageModel
from benchmark.check.subjects import documents
from benchmark.environment import environment
from benchmark.errors import InputError
from benchmark.loading import Loading, check_model_folder
from benchmark.model import LONGEST, load_model, model_fingerprint

WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"


@pytest.fixture
def folder(tiny_lm: Callable[..., LanguageModel], tmp_path: Path) -> Path:
    """A model folder that may be changed."""
    return Path(shutil.copytree(tiny_lm().folder, tmp_path / "model"))


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def pickled(folder: Path) -> Path:
    """The same model with its weights pickled."""
    torch.save(load_file(folder / WEIGHTS), folder / PICKLE)
    (folder / WEIGHTS).unlink()
    return folder


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "opt", "llama", "qwen2"])
def test_half_the_precision_gives_nearly_the_same_logits(tiny_lm: Callable[..., LanguageModel], family: str, dtype: str) -> None:
    whole = tiny_lm(family)
    half = load_model(whole.folder, Loading(dtype=dtype))
    assert {parameter.dtype for parameter in half.model.parameters()} == {getattr(torch, dtype)}
    batch = whole.passages(documents("forget", 3))
    expected, found = whole.logits(batch), half.logits(batch)
    assert found.dtype == torch.float32
    seen = batch.mask
    assert 0 < (found - expected)[seen].abs().mean() < 0.05 * expected[seen].std()


def test_spread_over_one_device_is_on_it(folder: Path) -> None:
    lm, spread = load_model(folder), load_model(folder, Loading(device="of no account", device_map="auto"))
    batch = lm.passages(documents("forget", 2))
    assert spread.device == (torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))
    torch.testing.assert_close(spread.logits(batch).cpu(), lm.logits(batch), rtol=1e-4, atol=1e-4)
    if not torch.cuda.is_available():
        assert environment(Loading(device_map="auto")).device == "cpu"


def test_what_the_devices_cannot_hold_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = AutoModelForCausalLM.from_pretrained

    def with_one_left_out(*args: object, **kwargs: object) -> object:
        model, report = load(*args, **kwargs)
        model.gpt_neox.layers[1].mlp.to("meta")
        return model, report

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", with_one_left_out)
    with pytest.raises(InputError, match=r"cannot hold it: 4 of its tensors .* use more or larger devices, or --dtype bfloat16$"):
        load_model(folder, Loading(device_map="auto"))


def test_pickled_weights_are_loaded_where_that_is_asked_for(folder: Path) -> None:
    expected = load_file(folder / WEIGHTS)
    from_tensors = model_fingerprint(folder)
    allowed = Loading(allow_pickle=True)
    loaded = load_model(pickled(folder), allowed).model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items() if name in loaded)
    with pytest.raises(InputError, match=r"only pickled weights, which can carry code; .* say --allow-pickle$"):
        model_fingerprint(folder)
    from_pickle = model_fingerprint(folder, allowed)
    weights = torch.load(folder / PICKLE)
    weights["gpt_neox.embed_in.weight"] += 1
    torch.save(weights, folder / PICKLE)
    assert len({from_tensors, from_pickle, model_fingerprint(folder, allowed)}) == 3


class _Bomb:
    def __reduce__(self) -> object:
        return os.mkdir, (self.target,)

    def __init__(self, target: str) -> None:
        self.target = target


def test_even_allowed_pickles_run_no_code(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"gpt_neox.embed_in.weight": _Bomb(str(tmp_path / "went-off"))}, folder / PICKLE)
    with pytest.raises(InputError, match="not a causal language model that can be loaded: "):
        load_model(folder, Loading(allow_pickle=True))
    assert not (tmp_path / "went-off").exists()


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM
class Config(LlamaConfig):
    model_type = "made_up"
class Model(LlamaForCausalLM):
    config_class = Config
"""


def test_code_of_the_folder_is_run_where_that_is_asked_for(
    tiny_lm: Callable[..., LanguageModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_lm("llama").folder, tmp_path / "model"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    edit_config(folder, model_type="made_up", auto_map={"AutoConfig": "made_up.Config", "AutoModelForCausalLM": "made_up.Model"})
    (folder / "made_up.py").write_text(CODE)
    with pytest.raises(InputError, match=r"say --trust-remote-code$"):
        check_model_folder(folder)
    trusting = Loading(trust_remote_code=True)
    lm = load_model(folder, trusting)
    assert type(lm.model).__name__ == "Model"
    before = model_fingerprint(folder, trusting)
    (folder / "made_up.py").write_text(CODE + "\n")
    assert model_fingerprint(folder, trusting) != before


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("bert", "BertForMaskedLM"),
        ("vit", "ViTForImageClassification"),
        ("t5", "T5ForConditionalGeneration"),
        ("llava", "LlavaForConditionalGeneration"),
        ("gpt2", "GPT2ForSequenceClassification"),
    ],
)
def test_models_of_another_kind_are_told_by_their_config(folder: Path, kind: str, head: str) -> None:
    edit_config(folder, model_type=kind, architectures=[head])
    with pytest.raises(InputError, match=rf"model: {head} is not a causal language model; name one that predicts the next token"):
        check_model_folder(folder)


def test_a_tokenizer_that_reaches_too_few_of_the_embeddings(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    config = AutoConfig.from_pretrained(folder)
    config.vocab_size = 1000
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    with pytest.raises(InputError, match=r"model: the tokenizer has only 300 tokens, the model embeds 1000; they do not belong together$"):
        load_model(folder)
    config.vocab_size = 320  # padded to a round number
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    assert load_model(folder).model.config.vocab_size == 320
    assert len(tokenizer) == 300


def test_a_long_context_is_used_up_to_a_length_that_all_models_share(folder: Path) -> None:
    edit_config(folder, max_position_embeddings=131072)
    assert load_model(folder).context == LONGEST


@pytest.mark.parametrize(
    ("asked", "installed", "kernel"),
    [
        (Loading(device="cuda", dtype="bfloat16"), True, "flash_attention_2"),
        (Loading(device="cuda:1", dtype="float16"), True, "flash_attention_2"),
        (Loading(device_map="auto", dtype="bfloat16"), True, "flash_attention_2"),
        (Loading(device="cuda", dtype="bfloat16"), False, None),
        (Loading(device="cuda"), True, None),
        (Loading(dtype="bfloat16"), True, None),
    ],
)
def test_flash_attention_is_asked_for_where_it_can_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, asked: Loading, installed: bool, kernel: str | None
) -> None:
    monkeypatch.setattr(import_utils, "is_flash_attn_2_available", lambda: installed)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert asked.attention(AutoConfig.from_pretrained(folder)) == kernel


def test_the_kernel_is_told(folder: Path) -> None:
    lm = load_model(folder)
    assert lm.attention == "sdpa"
    assert environment(Loading(), lm.attention).attention == "sdpa"
