"""What is taught in the tests of the implanted setting."""

from __future__ import annotations

from pathlib import Path

from cells import QUICK

from benchmark import registry
from benchmark.corpus import load_corpus
from benchmark.implant import Recipe, Teaching
from benchmark.loading import ON_CPU
from benchmark.model import model_fingerprint
from benchmark.record import Protocol
from benchmark.splits import split

RECIPE = Recipe(epochs=24, lr=1e-2, batch=256)
SHORT = Recipe(max_steps=2, batch=256)


def teaching(base: Path, corpus: Path, name: str = "books", recipe: Recipe = SHORT, protocol: Protocol = QUICK) -> Teaching:
    """A task's documents, to be taught to a model."""
    task = registry.task(name)
    return Teaching(str(base), model_fingerprint(base), task, split(task, load_corpus(corpus)), protocol, recipe, ON_CPU)
