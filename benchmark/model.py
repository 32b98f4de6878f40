"""The language model that a method edits, and loading one from a folder."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from benchmark.architecture import Architecture, architecture_of, layers_of
from benchmark.corpus import Document
from benchmark.errors import InputError, brief
from benchmark.memory_plan import MemoryPlan
from benchmark.passages import Passages, passages

UNBOUNDED = 2048
"""Context length in tokens of a model whose config names none."""

IDENTITY = ("config.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json")
"""Files of a model folder that decide what it computes."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokenizer. Methods edit `model` in place."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    """Where the untouched weights are."""
    context: int
    """Longest window in tokens that it is used with."""
    plan: MemoryPlan = field(default_factory=MemoryPlan)
    """How it fits into memory; shared by its copies."""

    @property
    def architecture(self) -> Architecture:
        """Where this model keeps its neurons and heads.

        Raises:
            ValueError: an architecture that is not described in `benchmark.architecture`.
        """
        return architecture_of(self.model)

    @property
    def device(self) -> torch.device:
        """Where its input goes."""
        return self.model.device

    def passages(self, documents: Sequence[Document], most_tokens: int | None = None) -> Passages:
        """Documents as windows of at most `context` tokens; the leading ones alone where `most_tokens` would be passed."""
        return passages(documents, self.tokenizer, self.context, most_tokens)

    def copy(self) -> LanguageModel:
        """A second model, equal to this one as it now is."""
        return replace(self, model=copy.deepcopy(self.model))

    def hidden(self, batch: Passages, layer: int) -> Tensor:
        """The residual stream (n, length, hidden) behind a layer; the layers after it are not run.

        Raises:
            ValueError: an architecture that is not described in `benchmark.architecture`.
        """
        batch = batch.to(self.device)
        hook = layers_of(self.model)[layer].register_forward_hook(_stop)
        try:
            self.model.base_model(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False)
        except _Reached as reached:
            return weighed(reached.hidden, batch.tokens / whole.tokens if (whole := batch.part_of) else 1.0)
        finally:
            hook.remove()
        raise AssertionError("the layer was not run")

    def logits(self, batch: Passages) -> Tensor:
        """Next-token logits (n, length, vocabulary) in float32."""
        batch = batch.to(self.device)
        output = self.model(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False)
        logits: Tensor = output.logits
        return weighed(logits.float(), batch.predicted / whole.predicted if (whole := batch.part_of) else 1.0)


def weighed(tensor: Tensor, share: float) -> Tensor:
    """The tensor itself, whose gradient will be multiplied by a share.

    So a loss that is a mean over the tokens of a part of a batch counts for what it would in the mean over the whole batch.
    """
    if share != 1.0 and tensor.requires_grad:
        tensor.register_hook(lambda gradient: gradient * share)  # type: ignore[no-untyped-call]
    return tensor


class _Reached(Exception):  # noqa: N818 -- not an error: the way out of a forward pass
    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


def _stop(layer: nn.Module, inputs: tuple[object, ...], output: Any) -> None:
    raise _Reached(output if isinstance(output, Tensor) else output[0])


def load_model(folder: Path, *, context: int | None = None, device: str = "cpu") -> LanguageModel:
    """Load a local Hugging Face folder in float32, in evaluation mode; safetensors only, no code from the folder.

    Raises:
        InputError: the folder lacks a config, weights or a tokenizer, or they do not make a causal language model.
    """
    check_model_folder(folder)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # models load again and again; the run has its own progress
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what it warns of is an error here, see below
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # every library below raises its own kinds; whichever, the folder is of no use
        raise InputError(f"{folder}: not a causal language model that can be loaded: {brief(error)}") from None
    model: PreTrainedModel
    model, loading = loaded
    if missing := sorted(loading["missing_keys"]):
        raise InputError(f"{folder}: no weights for {', '.join(missing[:3])}; not a whole causal language model")
    embedded: int = model.get_input_embeddings().weight.shape[0]  # type: ignore[index, assignment]
    if len(tokenizer) > embedded:
        raise InputError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model embeds only {embedded}; they do not belong together"
        )
    model.train(False)
    if not _is_causal(model):
        raise InputError(f"{folder}: {type(model).__name__} looks ahead at the tokens to be predicted; not a causal language model")
    longest = getattr(config, "max_position_embeddings", None) or UNBOUNDED
    model.to(check_device(device))  # type: ignore[arg-type]
    return LanguageModel(model, tokenizer, folder, min(longest, context or longest))


def _is_causal(model: PreTrainedModel) -> bool:
    """Whether another next token leaves the prediction of it alone."""
    with torch.no_grad():
        first, second = model(input_ids=torch.tensor([[0, 1], [0, 2]]), use_cache=False).logits[:, 0]
    return torch.allclose(first, second, rtol=1e-3, atol=1e-5)


def check_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        InputError: this machine has none, or PyTorch cannot use it.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} cannot be used: {brief(error)}; use cpu, cuda or cuda:N") from None


def check_model_folder(folder: Path) -> None:
    """See at a glance whether a folder may hold a model.

    Raises:
        InputError: it lacks a config, weights in safetensors or a tokenizer.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such model folder")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; expected a Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin"))
        raise InputError(
            f"{folder}: "
            + (
                "only pickled weights, which are not loaded; convert them to safetensors"
                if pickled
                else "no model.safetensors; save the model's weights there"
            )
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        raise InputError(f"{folder}: no tokenizer (tokenizer.json); save the model's tokenizer beside it")


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over a model folder's config, tokenizer and weights.

    Raises:
        InputError: it lacks one of them.
    """
    check_model_folder(folder)
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if any(file.match(pattern) for pattern in IDENTITY):
            digest.update(json.dumps([file.name, file.stat().st_size]).encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()
