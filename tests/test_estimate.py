"""The README's estimate of how long a GPU takes is worked out from the methods' defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import LanguageModel, Request, registry
from benchmark.catalogue import catalogue
from benchmark.cost import retraining_flops
from benchmark.memory.plan import MemoryPlan

PARAMETERS = catalogue()["pythia-410m"].parameters * 10**6

TOKENS = 1000
"""Of a window of hub text, as the README has it."""


class _Seen(Exception):  # noqa: N818 -- the way out of a method that is about to train
    pass


def windows(name: str, lm: LanguageModel, request: Request, monkeypatch: pytest.MonkeyPatch) -> int:
    """Windows that a method trains on with its defaults; 0 for one that does not."""
    batches: list[int] = []

    def train(self: MemoryPlan, weights: Any, batch: int, streams: int, length: int) -> None:
        batches.append(batch * streams)
        raise _Seen

    def settle(self: MemoryPlan, needs: Any, batch: int, streams: int, length: int) -> None:
        if "curvature" in needs:
            train(self, (), batch, streams, length)

    monkeypatch.setattr(MemoryPlan, "train", train)
    monkeypatch.setattr(MemoryPlan, "settle", settle)
    method = registry.method(name).build()
    lm.plan.batch = getattr(method, "batch", 0)
    with pytest.raises(_Seen):
        next(iter(method.unlearn(lm, request)))
    return batches[0] * int(getattr(method, "steps", 0))


def test_what_training_takes(
    tiny_lm: Callable[..., LanguageModel], request_for: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_lm()
    trained = [name for name, entry in registry.methods().items() if hasattr(entry.build(), "steps")]
    taken = {name: windows(name, replace(lm, plan=MemoryPlan()), request_for(lm), monkeypatch) for name in trained}
    largest = retraining_flops(PARAMETERS, max(taken.values()) * TOKENS) / 1e15
    together = retraining_flops(PARAMETERS, sum(taken.values()) * TOKENS) / 1e15
    said = " ".join((Path(__file__).parents[1] / "README.md").read_text("utf-8").split())
    assert f"at most {max(taken.values())} windows of some 1,000 tokens: {largest:.1f} PFLOP" in said
    assert f"the {len(trained)} rows that train are {together:.0f} PFLOP a task" in said
