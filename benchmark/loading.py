"""How a model's weights are loaded: at what precision, where to, and what of a stranger's folder is trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import InputError, brief
from benchmark.record import Dtype

if TYPE_CHECKING:  # what is listed on the command line should not wait for these
    import torch
    from transformers import PreTrainedConfig

TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model")
"""A model folder has at least one of these."""

PICKLES = "pytorch_model*.bin"
"""Names of pickled weights."""

PICKLED = "only pickled weights, which can carry code; convert them to safetensors or, if you trust their source, say --allow-pickle"
CODE = "needs Python code that comes with it, which is not run; if you have read it and trust it, say --trust-remote-code"


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
        import torch

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
        import torch
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
        from transformers.utils import import_utils

        on_gpu = torch.cuda.is_available() if self.device_map else self.device.startswith("cuda")
        if not on_gpu or self.dtype == "float32" or not import_utils.is_flash_attn_2_available():
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
    import torch

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
    if (lack := lacking(folder, loading)) is not None:
        raise InputError(f"{folder}: {lack}")
    check_kind(folder / "config.json", str(folder), loading)


def lacking(folder: Path, loading: Loading = ON_CPU) -> str | None:
    """What a folder has not of all that a model is loaded from, and what to do about it; None if it is all there."""
    if not (folder / "config.json").is_file():
        return "no config.json; expected a Hugging Face model folder"
    if not in_tensors(folder):
        if not pickles(folder):
            return "no model.safetensors; save the model's weights there"
        if not loading.allow_pickle:
            return PICKLED
    if gone := [name for name in _shards(folder) if not (folder / name).is_file()]:
        return f"no {gone[0]}, which holds a part of the weights; add it"
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return "no tokenizer (tokenizer.json); save the model's tokenizer beside it"
    return None


def _shards(folder: Path) -> list[str]:
    """The files that weights in several parts are in."""
    whole = "model.safetensors" if in_tensors(folder) else "pytorch_model.bin"
    parts = {} if (folder / whole).is_file() else _object(folder / f"{whole}.index.json").get("weight_map") or {}
    return sorted({str(name) for name in parts.values()})


def in_tensors(folder: Path) -> bool:
    """Whether a folder's weights are in safetensors."""
    return any(folder.glob("*.safetensors"))


def pickles(folder: Path) -> list[Path]:
    """Pickled weights of a folder."""
    return sorted(folder.glob(PICKLES))


def check_kind(file: Path, name: str, loading: Loading = ON_CPU) -> None:
    """See from its config alone whether a model is a causal language model; of a config that cannot be read, loading will tell.

    Args:
        file: the config.
        name: the model's, for the message.
        loading: says whether the model's own code may be run.

    Raises:
        InputError: it is a model of another kind, such as an encoder or a vision model, or needs code that may not be run.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    config = _object(file)
    own_code = "AutoModelForCausalLM" in (config.get("auto_map") or {})
    if config.get("model_type") not in CAUSAL and own_code and not loading.trust_remote_code:
        raise InputError(f"{name}: {CODE}")
    classes = {head for group in CAUSAL.values() for head in ([group] if isinstance(group, str) else group)}
    heads = [str(head) for head in config.get("architectures") or () if "For" in str(head)]
    if heads and not own_code and not classes & set(heads):
        raise InputError(f"{name}: {heads[0]} is not a causal language model; name one that predicts the next token, such as pythia-410m")


def _object(file: Path) -> dict[str, Any]:
    """A JSON file's object; an empty one where there is none."""
    try:
        read = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
