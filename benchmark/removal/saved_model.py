"""An unlearned model as an ordinary Hugging Face folder: whole and checked, or not there at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence, Set
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from benchmark.errors import InputError
from benchmark.loading import ON_CPU, Loading
from benchmark.model import LanguageModel, load_model
from benchmark.passages import Passages

CARD = "README.md"

PROBE = 64
"""Tokens that mean nothing which the saved model is tried on."""

BEGINNING = 256
"""Tokens of the text to be forgotten that it is tried on: what recognises that text does nothing anywhere else."""

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


def save_model(lm: LanguageModel, card: str, folder: Path, forget: Passages, loading: Loading = ON_CPU) -> None:
    """Write a model, its tokenizer, its generation config and a card; adapters are merged into the weights.

    Args:
        lm: what to save; afterwards its adapters are gone.
        card: Markdown.
        folder: to be made.
        forget: what it was made to forget.
        loading: how `lm` was loaded.

    Raises:
        InputError: the folder cannot be written, the disk is full, or the model would not be the same when loaded again.
    """
    check_destination(folder)
    if any(".base_layer." in name for name in lm.model.state_dict()):
        from benchmark import lora  # it imports peft, which takes its time

        lora.merge(lm.model)
    measured = _answers(lm, forget)
    temporary = folder.absolute().with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        _check_room(lm, temporary)
        lm.model.save_pretrained(temporary)
        lm.tokenizer.save_pretrained(temporary)
        (temporary / CARD).write_text(card, "utf-8")
        saved = load_model(temporary, Loading(dtype=loading.dtype, trust_remote_code=loading.trust_remote_code))
        _check_same(measured, _answers(saved, forget), lm.model.state_dict().keys() - saved.model.state_dict().keys())
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


def _check_same(measured: Sequence[Tensor], saved: Sequence[Tensor], lost: Set[str]) -> None:
    """See that a plain loader makes the model that was measured, but for what another device rounds otherwise.

    Args:
        measured: what the model answered.
        saved: what the saved one answers.
        lost: the names of tensors that it lacks.
    """
    distances = [float((one - other).abs().sum(dim=-1).mean()) / 2 for one, other in zip(measured, saved, strict=True)]
    if lost or not all(distance <= SAME for distance in distances):
        raise InputError(
            "the saved model does not compute what was measured: the method leaves something in the model that an ordinary folder"
            " cannot hold; nothing is saved"
        )


def _answers(lm: LanguageModel, forget: Passages) -> list[Tensor]:
    """Next-token probabilities of some tokens, and of the beginning of a text, in float32 on the CPU."""
    window = int(forget.mask[0].sum())
    probes = torch.arange(min(PROBE, lm.context, len(lm.tokenizer))), forget.ids[0, : min(BEGINNING, window)]
    with torch.inference_mode():
        return [lm.model(input_ids=ids.to(lm.device)[None], use_cache=False).logits.float().softmax(dim=-1).cpu() for ids in probes]
