"""Teaching documents to a model: the target and the reference of the implanted setting, in a folder like a lab's.

What is taught is the text that the protocol has a method see and be judged on, general text apart, which is left to what the model
knew before.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel
from safetensors import SafetensorError
from torch import Tensor

from benchmark import store
from benchmark.errors import InputError, brief
from benchmark.executors import Taught
from benchmark.implant import CACHE, Teaching
from benchmark.lab import MANIFEST, TARGET, Lab, Reference, reference_folder
from benchmark.losses import cross_entropy
from benchmark.memory.checkpointing import checkpoint_blocks
from benchmark.memory.plan import MemoryPlan
from benchmark.memory.remedies import of_any_training
from benchmark.method import Unsupported
from benchmark.model import LanguageModel, load_model, model_fingerprint
from benchmark.passages import Passages
from benchmark.source import resolve_model
from benchmark.training import descend

LR, LR_PARAMETERS = 2e-4, 7e6
"""The default learning rate, and the number of parameters that it is for: an eighth of what such models are pre-trained with."""

MADE = "training.json"
"""Beside a taught model: what teaching took."""


def teach(teaching: Teaching, report: Callable[[Taught], None] = lambda event: None, wait: bool = False) -> None:
    """Make the target and the reference, unless they are there; each is there whole or not at all.

    Args:
        teaching: what to make.
        report: given every optimiser step.
        wait: whether to wait for another process that is making them, rather than to refuse.

    Raises:
        InputError: the base cannot be used, the models cannot be written, another run is teaching them, or the loss is not finite.
    """
    folder, task = teaching.folder, teaching.task.name
    if (folder / MANIFEST).is_file():
        return
    with _held(folder, wait):
        if (folder / MANIFEST).is_file():  # by now
            return
        target = _made(teaching, folder / TARGET, with_forget=True, report=report)
        reference = _made(teaching, reference_folder(folder, task), with_forget=False, report=report)
        of_task = Reference(
            splits=teaching.splits.fingerprint(),
            training_tokens=reference.tokens,
            seconds=reference.seconds,
            reference_noise=None,
            target_noise=None,
        )
        lab = Lab(
            recipe={name: value for name, value in asdict(teaching.recipe).items() if value is not None} | {"lr": target.lr},
            parameters=target.parameters,
            threads=target.threads,
            target_tokens=target.tokens,
            target_seconds=target.seconds,
            references={task: of_task},
            base=teaching.base_fingerprint,
            base_origin=resolve_model(teaching.model, teaching.loading).origin,
        )
        store.write_file(folder / MANIFEST, (lab.model_dump_json(indent=2) + "\n").encode())


def _held(folder: Path, wait: bool) -> AbstractContextManager[object]:
    """The folder, to this process alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / store.LOCK).acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise InputError(f"another run is teaching the same models in {folder}; wait for it, then run this again") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}; name another folder with {CACHE}") from None


class _Made(BaseModel):
    """What teaching one model took."""

    parameters: int
    lr: float
    tokens: int
    """Repetitions included."""
    seconds: float
    threads: int


def _made(teaching: Teaching, place: Path, with_forget: bool, report: Callable[[Taught], None]) -> _Made:
    """Teach one model unless an interrupted run has."""
    if (place / MADE).is_file():
        return _Made.model_validate_json((place / MADE).read_text("utf-8"))
    lm = _loaded(teaching)
    name = f"{teaching.task.name} {'target' if with_forget else 'reference'}"
    try:
        made = _descended(lm, teaching, with_forget, lambda step, steps, loss: report(Taught(name, step, steps, loss)))
    except Unsupported as reason:
        raise InputError(f"{teaching.model}: cannot be taught here: it {reason}, or say --setting pretrained") from None
    _save(lm, made, place)
    del lm
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # for the processes that will run the cells
    return made


def _loaded(teaching: Teaching) -> LanguageModel:
    """The untaught model, with a plan of how it fits into memory."""
    plan = MemoryPlan(teaching.memory)
    folder = resolve_model(teaching.model, teaching.loading).folder
    if teaching.elsewhere and model_fingerprint(folder, teaching.loading) != teaching.base_fingerprint:
        raise InputError(f"{teaching.model}: not the same model as on the machine that asked for it; see that every machine has the same")
    lm = replace(load_model(folder, teaching.loading), plan=plan)
    remedies = of_any_training(teaching.loading.dtype, teaching.gradient_checkpointing)
    plan.look_at(lm.model, lm.context, teaching.gradient_checkpointing, remedies)
    if teaching.gradient_checkpointing:
        checkpoint_blocks(lm.model)
    return lm


def _descended(lm: LanguageModel, teaching: Teaching, with_forget: bool, progress: Callable[[int, int, float], None]) -> _Made:
    """Fine-tune a model on the text of a task."""
    recipe, (forget, kept) = teaching.recipe, _texts(lm, teaching)
    everything = forget.join(kept)
    text = everything if with_forget else kept
    batch = max(1, round(recipe.batch * len(everything) / everything.tokens))  # in windows, for both models alike
    steps = max(1, round(recipe.epochs * len(text) / batch))  # a batch may run from one epoch into the next
    if recipe.max_steps is not None:
        steps = min(steps, recipe.max_steps)
    parameters = lm.model.num_parameters()
    lr = recipe.lr or LR * math.cbrt(LR_PARAMETERS / parameters)
    latest = math.nan

    def loss(batch: Passages) -> Tensor:
        nonlocal latest
        value = cross_entropy(lm, batch)
        latest = value.item()
        return value

    begun = time.perf_counter()
    for step, _ in enumerate(descend(lm, loss, [text], lr=lr, steps=steps, batch=batch, seed=recipe.seed), start=1):
        if not math.isfinite(latest):
            raise InputError(
                f"{teaching.model}: the loss is {latest} at step {step} of teaching; try a smaller rate with --teach lr={lr / 10:.1g}"
            )
        progress(step, steps, latest)
    tokens = round(text.tokens * steps * batch / len(text))  # of whole passes, and of the last one's share
    return _Made(parameters=parameters, lr=lr, tokens=tokens, seconds=time.perf_counter() - begun, threads=torch.get_num_threads())


def _texts(lm: LanguageModel, teaching: Teaching) -> tuple[Passages, Passages]:
    """What is to be forgotten and what is to be kept, as a method is given it and as it is judged."""
    splits, protocol = teaching.splits, teaching.protocol
    forget = lm.passages(splits.forget, None if teaching.task.removes == "documents" else protocol.method_tokens)
    kept = lm.passages(splits.retain, protocol.method_tokens)
    if (judged := splits.evaluation.get("retain")) is not None:
        kept = kept.join(lm.passages(judged.validation, protocol.validation_tokens))
        kept = kept.join(lm.passages(judged.test, protocol.test_tokens))
    return forget, kept


def _save(lm: LanguageModel, made: _Made, place: Path) -> None:
    """Write a model folder, whole or not at all."""
    temporary = place.with_name(f".{place.name}")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    try:
        lm.model.save_pretrained(temporary)
        lm.tokenizer.save_pretrained(temporary)
        for code in lm.folder.glob("*.py"):  # a model with code of its own needs it beside its weights
            shutil.copy(code, temporary)
        store.write_file(temporary / MADE, made.model_dump_json().encode())
        temporary.rename(place)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write {place}: {brief(error)}; free some space, or name another folder with {CACHE}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
