"""An unlearned model as an ordinary Hugging Face folder: whole and checked, or not there at all."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from benchmark.errors import InputError
from benchmark.loading import ON_CPU, Loading
from benchmark.model import LanguageModel, load_model

CARD = "README.md"

PROBE = 64
"""Tokens that the saved model is tried on."""

SAME = 0.02
"""Mean total variation distance of next-token probabilities up to which two models are one."""


def check_destination(folder: Path) -> None:
    """See that a model can be saved there.

    Raises:
        InputError: something is there already, or the folder cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--save-model {folder}: a file of that name is in the way; name another folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"--save-model {folder}: there is something in it already; name another folder")
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"--save-model {folder}: {parent} cannot be written to; name another folder")


def save_model(lm: LanguageModel, card: str, folder: Path, loading: Loading = ON_CPU) -> None:
    """Write a model, its tokenizer, its generation config and a card; adapters are merged into the weights.

    Args:
        lm: what to save; afterwards its adapters are gone.
        card: Markdown.
        folder: to be made.
        loading: how `lm` was loaded.

    Raises:
        InputError: the folder cannot be written, the disk is full, or the model would not be the same when loaded again.
    """
    check_destination(folder)
    if any(".base_layer." in name for name in lm.model.state_dict()):
        from benchmark import lora  # it imports peft, which takes its time

        lora.merge(lm.model)
    measured = _answer(lm)
    temporary = folder.absolute().with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        _check_room(lm, temporary)
        lm.model.save_pretrained(temporary)
        lm.tokenizer.save_pretrained(temporary)
        (temporary / CARD).write_text(card, "utf-8")
        _check_same(temporary, measured, Loading(dtype=loading.dtype, trust_remote_code=loading.trust_remote_code))
        for file in temporary.glob("*.safetensors"):  # written for the owner alone
            file.chmod((temporary / CARD).stat().st_mode)
        if folder.is_dir():
            folder.rmdir()
        temporary.rename(folder)
    except (OSError, SafetensorError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot save the model in {folder}: {told}; free some space or name another folder") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_room(lm: LanguageModel, folder: Path) -> None:
    needed = sum(parameter.numel() * parameter.element_size() for parameter in lm.model.parameters())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"cannot save the model in {folder.parent}: it needs {needed / 2**20:,.0f} MiB and {free / 2**20:,.0f} are free;"
            " free some space or name another folder"
        )


def _check_same(folder: Path, measured: Tensor, loading: Loading) -> None:
    """See that a plain loader makes the model that was measured, but for what another device rounds otherwise."""
    distance = float((_answer(load_model(folder, loading)) - measured).abs().sum(dim=-1).mean()) / 2
    if distance > SAME:
        raise InputError(
            "the saved model does not compute what was measured: the method leaves something in the model that an ordinary folder"
            " cannot hold; nothing is saved"
        )


def _answer(lm: LanguageModel) -> Tensor:
    """Next-token probabilities of some tokens, in float32 on the CPU."""
    count = min(PROBE, lm.context, len(lm.tokenizer))
    with torch.inference_mode():
        logits: Tensor = lm.model(input_ids=torch.arange(count, device=lm.device)[None], use_cache=False).logits
    return logits.float().softmax(dim=-1).cpu()
