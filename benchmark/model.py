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
from benchmark.loading import CODE, ON_CPU, Loading, check_model_folder, in_tensors, pickles
from benchmark.memory.plan import MemoryPlan, size_of
from benchmark.passages import Passages, passages

LONGEST = 2048
"""Longest window in tokens that any model is used with, and the one of a model whose config names none."""

SMALLEST_VOCABULARY = 0.75
"""Share of its embeddings that a model's tokenizer reaches: they are padded to round numbers, by a few per cent at most."""

IDENTITY = ("config.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.py")
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
        """Where its input goes and its logits come out; of a model spread over several devices, the first."""
        return self.model.device

    @property
    def attention(self) -> str:
        """The attention kernel it runs with, as transformers names it."""
        name: str = self.model.config._attn_implementation
        return name

    def passages(self, documents: Sequence[Document], most_tokens: int | None = None) -> Passages:
        """Documents as windows of at most `context` tokens; the leading ones alone where `most_tokens` would be passed."""
        return passages(documents, self.tokenizer, self.context, most_tokens)

    def copy(self) -> LanguageModel:
        """A second model, equal to this one as it now is."""
        self.plan.parts["second_model"] = size_of(self.model)
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


def load_model(folder: Path, loading: Loading = ON_CPU, *, context: int | None = None) -> LanguageModel:
    """Load a local Hugging Face folder, in evaluation mode.

    Raises:
        InputError: the folder lacks a config, weights or a tokenizer, they do not make a causal language model, they may
            not be trusted, or the devices asked for are not there.
    """
    loading.check()
    check_model_folder(folder, loading)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # models load again and again; the run has its own progress
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what it warns of is an error here, see below
    trust = {"trust_remote_code": loading.trust_remote_code, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, **trust)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=loading.torch_dtype,
            use_safetensors=in_tensors(folder),
            device_map=loading.device_map,
            attn_implementation=loading.attention(config),
            output_loading_info=True,
            **trust,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **trust)
    except Exception as error:  # every library below raises its own kinds; whichever, the folder is of no use
        if "trust_remote_code" in str(error):
            raise InputError(f"{folder}: {CODE}") from None
        raise InputError(f"{folder}: not a causal language model that can be loaded: {brief(error)}") from None
    model: PreTrainedModel
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise InputError(f"{folder}: no weights for {', '.join(missing[:3])}; not a whole causal language model")
    _check_tokens(folder, len(tokenizer), model.get_input_embeddings().weight.shape[0])  # type: ignore[index, arg-type]
    _place(folder, model, loading)
    model.train(False)
    if not _is_causal(model):
        raise InputError(f"{folder}: {type(model).__name__} looks ahead at the tokens to be predicted; not a causal language model")
    longest = min(getattr(config, "max_position_embeddings", None) or LONGEST, LONGEST)
    return LanguageModel(model, tokenizer, folder, min(longest, context or longest))


def _check_tokens(folder: Path, tokens: int, embedded: int) -> None:
    if tokens > embedded:
        raise InputError(f"{folder}: the tokenizer has {tokens} tokens, the model embeds only {embedded}; they do not belong together")
    if tokens < SMALLEST_VOCABULARY * embedded:
        raise InputError(f"{folder}: the tokenizer has only {tokens} tokens, the model embeds {embedded}; they do not belong together")


def _place(folder: Path, model: PreTrainedModel, loading: Loading) -> None:
    if loading.device_map is None:
        model.to(loading.device)  # type: ignore[arg-type]
    elif left := sum(parameter.is_meta for parameter in model.parameters()):
        raise InputError(
            f"{folder}: the devices at hand cannot hold it: {left} of its tensors would be kept elsewhere, where no method can edit them; "
            "use more or larger devices, or --dtype bfloat16"
        )


def _is_causal(model: PreTrainedModel) -> bool:
    """Whether another next token leaves the prediction of it alone."""
    tokens = torch.tensor([[0, 1], [0, 2]], device=model.device)
    with torch.no_grad():
        first, second = model(input_ids=tokens, use_cache=False).logits[:, 0].float()
    rounding = 1e-3 if model.dtype == torch.float32 else 3e-2
    return torch.allclose(first, second, rtol=rounding, atol=1e-2 * rounding)


def model_fingerprint(folder: Path, loading: Loading = ON_CPU) -> str:
    """SHA-256 over a model folder's config, tokenizer and weights.

    Raises:
        InputError: it lacks one of them, or they may not be loaded.
    """
    check_model_folder(folder, loading)
    pickled = [] if in_tensors(folder) else pickles(folder)
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file in pickled or any(file.match(pattern) for pattern in IDENTITY):
            digest.update(json.dumps([file.name, file.stat().st_size]).encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()
