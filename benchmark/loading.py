"""How a model's weights are loaded: at what precision, where to, and what of a stranger's folder is trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.import_utils import is_flash_attn_2_available

from benchmark.errors import InputError, brief
from benchmark.record import Dtype

TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model")
"""A model folder has at least one of these."""


@dataclass(frozen=True)
class Loading:
    """How models are loaded in one run."""

    device: str = "cpu"
    device_map: Literal["auto"] | None = None
    """`auto` spreads the model over all devices at hand, by accelerate; `device` does not count then."""
    dtype: Dtype = "float32"
    allow_pickle: bool = False
    """Whether weights may come in a format that can carry code; of such files, too, only tensors are read."""
    trust_remote_code: bool = False
    """Whether Python files that come with the weights may be run."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """The precision as PyTorch names it."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def check(self) -> None:
        """See that the devices are there.

        Raises:
            InputError: this machine lacks one, or PyTorch cannot use it.
        """
        if self.device_map is None:
            check_device(self.device)

    def attention(self, config: PreTrainedConfig) -> str | None:
        """The attention kernel to ask for: flash-attention where it is installed and can run.

        None leaves it to transformers, which takes PyTorch's own (SDPA) and, for models that have none, the plain one.
        """
        on_gpu = torch.cuda.is_available() if self.device_map else self.device.startswith("cuda")
        if not on_gpu or self.dtype == "float32" or not is_flash_attn_2_available():
            return None
        kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
        return "flash_attention_2" if getattr(kind, "_supports_flash_attn", False) else None


ON_CPU = Loading()
"""In float32 on the CPU, trusting nothing but tensors."""


def check_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        InputError: this machine has none, or PyTorch cannot use it.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} cannot be used: {brief(error)}; use cpu, cuda or cuda:N") from None


def check_model_folder(folder: Path, loading: Loading = ON_CPU) -> None:
    """See at a glance whether a folder may hold a causal language model.

    Raises:
        InputError: it lacks a config, weights that may be read or a tokenizer, or its config is of another kind of model.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such model folder")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; expected a Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        pickled = any(pickles(folder))
        if not pickled:
            raise InputError(f"{folder}: no model.safetensors; save the model's weights there")
        if not loading.allow_pickle:
            raise InputError(f"{folder}: {PICKLED}")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise InputError(f"{folder}: no tokenizer (tokenizer.json); save the model's tokenizer beside it")
    check_kind(folder, str(folder), loading)


PICKLED = "only pickled weights, which can carry code; convert them to safetensors or, if you trust their source, say --allow-pickle"


def pickles(folder: Path) -> list[Path]:
    """Pickled weights of a folder."""
    return sorted(folder.glob("pytorch_model*.bin"))


def check_kind(folder: Path, name: str, loading: Loading = ON_CPU) -> None:
    """See from its config alone whether a model is a causal language model; of a config that cannot be read, loading will tell.

    Raises:
        InputError: it is a model of another kind, such as an encoder or a vision model, or needs code that may not be run.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        kind, heads = config.get("model_type"), config.get("architectures") or []
        own_code = "AutoModelForCausalLM" in (config.get("auto_map") or {})
    except (OSError, ValueError, AttributeError):
        return
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and own_code:
        if not loading.trust_remote_code:
            raise InputError(f"{name}: {CODE}")
        return
    causal = {head for group in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() for head in ([group] if isinstance(group, str) else group)}
    others = [head for head in heads if "For" in str(head)]
    if others and not causal & set(heads) and not own_code:
        raise InputError(f"{name}: {others[0]} is not a causal language model; name one that predicts the next token, such as pythia-410m")


CODE = "needs Python code that comes with it, which is not run; if you have read it and trust it, say --trust-remote-code"
