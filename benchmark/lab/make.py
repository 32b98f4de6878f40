"""`bench lab train`: make every model of a lab from its documents. Models already made are left: it can be resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerFast

from benchmark import scores, store
from benchmark.corpus import Document
from benchmark.errors import InputError
from benchmark.executors import Taught
from benchmark.lab import MANIFEST, TARGET, Lab, Reference, reference_folder, seed_folder
from benchmark.lab.train import Recipe, train_model, train_tokenizer
from benchmark.measure import evaluation_text, measure
from benchmark.model import load_model
from benchmark.splits import Splits

MADE = "training.json"
"""Beside a trained model: the recipe and what training took."""


@dataclass(frozen=True)
class Training:
    """One model to be trained, and where it goes."""

    name: str
    folder: Path
    tokenizer: Path
    documents: tuple[Document, ...]
    recipe: Recipe


def make_lab(splits: Mapping[str, Splits], recipe: Recipe, out: Path, jobs: int, seeds: int, report: Callable[[Taught], None]) -> Lab:
    """Train the target and a reference for each task with every seed, measure the noise floor where there are several, write manifests.

    Args:
        splits: by task; every task's target is trained on the same documents.
        recipe: its seed is the first of the seeds.
        out: the lab folder.
        jobs: trainings at a time, the cores shared evenly.
        seeds: trainings of everything, each with the next seed; at least 2 for a noise floor.
        report: given every optimiser step of every training.

    Raises:
        InputError: the folder holds models of another recipe or other documents, or a training process died.
    """
    out.mkdir(parents=True, exist_ok=True)
    trained = next(iter(splits.values())).trained
    trainings = []
    for seed in range(seeds):
        folder, seeded = seed_folder(out, seed), _seeded(recipe, seed)
        label = f" (seed {seed})" if seed else ""
        trainings.append(Training(f"target{label}", folder / TARGET, out / "tokenizer", trained, seeded))
        for task, its in splits.items():
            trainings.append(Training(f"without {task}{label}", reference_folder(folder, task), out / "tokenizer", its.reference, seeded))
    missing = [training for training in trainings if not _made(training)]
    if missing:
        train_tokenizer(trained, recipe).save_pretrained(out / "tokenizer")
    _train_all(missing, jobs, report)
    noise = {task: _noise(out, task, its, seeds) for task, its in splits.items()}
    for seed in reversed(range(seeds)):  # the lab's own last: it says that the others are there
        lab = _manifest(seed_folder(out, seed), splits, _seeded(recipe, seed), noise, seeds if seed == 0 else 1)
        store.write_file(seed_folder(out, seed) / MANIFEST, (lab.model_dump_json(indent=2) + "\n").encode())
    return lab


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    return dataclasses.replace(recipe, seed=recipe.seed + seed)


def _identity(training: Training) -> dict[str, object]:
    """What decides a model."""
    texts = json.dumps([document.text for document in training.documents])
    return {
        "recipe": asdict(training.recipe),
        "documents": [document.id for document in training.documents],
        "texts": hashlib.sha256(texts.encode()).hexdigest(),
    }


def _made(training: Training) -> bool:
    file = training.folder / MADE
    if not file.is_file():
        return False
    made = json.loads(file.read_text("utf-8"))
    if any(made.get(key, value) != value for key, value in _identity(training).items()):
        raise InputError(f"{training.folder}: made by another recipe or from other documents; remove it or name another --out")
    return True


def _train_all(trainings: Sequence[Training], jobs: int, report: Callable[[Taught], None]) -> None:
    if jobs == 1 or not trainings:
        for training in trainings:
            _train(training, report)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    with context.Manager() as manager:
        queue: Queue[Taught] = manager.Queue()
        executor = ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(threads,))
        try:
            results = [executor.submit(_train, training, queue.put) for training in trainings]
            while not all(result.done() for result in results):
                for progress in _drain(queue):
                    report(progress)
            for result in results:
                result.result()
        except BrokenProcessPool:
            raise InputError("a training process died, out of memory perhaps; run again, the models made so far stay") from None
        finally:
            executor.shutdown(cancel_futures=True)


def _drain(queue: Queue[Taught]) -> Iterator[Taught]:
    try:
        while True:
            yield queue.get(timeout=0.5)
    except Empty:
        return


def _train(training: Training, report: Callable[[Taught], None]) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(training.tokenizer)
    begun = time.perf_counter()
    tokens = 0

    def progress(step: int, steps: int, loss: float) -> None:
        nonlocal tokens
        tokens = steps * training.recipe.batch * training.recipe.context
        if step % 10 == 0 or step == steps:
            report(Taught(training.name, step, steps, loss))

    model = train_model(training.documents, tokenizer, training.recipe, progress)
    seconds = time.perf_counter() - begun
    model.bfloat16().save_pretrained(training.folder)
    tokenizer.save_pretrained(training.folder)
    made = _identity(training) | {"seconds": round(seconds, 1), "tokens": tokens, "threads": torch.get_num_threads()}
    store.write_file(training.folder / MADE, json.dumps(made).encode())


class _Noise(NamedTuple):
    """How far trainings with different seeds are apart on a task's forget set, nats; None where there is one seed."""

    reference: float | None
    target: float | None


def _noise(out: Path, task: str, splits: Splits, seeds: int) -> _Noise:
    if seeds == 1:
        return _Noise(None, None)
    folders = [seed_folder(out, seed) for seed in range(seeds)]
    return _Noise(
        _apart([reference_folder(folder, task) for folder in folders], splits), _apart([folder / TARGET for folder in folders], splits)
    )


def _manifest(folder: Path, splits: Mapping[str, Splits], recipe: Recipe, noise: Mapping[str, _Noise], seeds: int) -> Lab:
    target = json.loads((folder / TARGET / MADE).read_text("utf-8"))
    references = {}
    for task, its in splits.items():
        made = json.loads((reference_folder(folder, task) / MADE).read_text("utf-8"))
        references[task] = Reference(
            splits=its.fingerprint(),
            training_tokens=made["tokens"],
            seconds=made["seconds"],
            reference_noise=noise[task].reference,
            target_noise=noise[task].target,
        )
    return Lab(
        seeds=seeds,
        recipe=asdict(recipe),
        parameters=load_model(folder / TARGET).model.num_parameters(),
        threads=target["threads"],
        target_tokens=target["tokens"],
        target_seconds=target["seconds"],
        references=references,
    )


def _apart(folders: Sequence[Path], splits: Splits) -> float:
    """How far the mean token NLL of models on a task's whole forget set is apart, nats: the mean over pairs of them."""
    halves = splits.evaluation["forget"]
    means = []
    for folder in folders:
        lm = load_model(folder)
        text = evaluation_text(lm, halves.validation + halves.test, most_tokens=10**9)
        means.append(measure(lm, {"forget": text})["forget"].mean_nll)
    return scores.mean_distance(means)
