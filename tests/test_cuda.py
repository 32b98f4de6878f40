"""Every method on a GPU: on tiny models, with the weights in float32 and in bfloat16. Skipped where there is no GPU."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cells import planned, run

from benchmark import LanguageModel, Request, Unsupported, registry
from benchmark.loading import Loading
from benchmark.measure import EvaluationText, measure
from benchmark.memory.at_hand import free_memory
from benchmark.panel.continuation import greedy, prompts, sampled
from benchmark.snapshot import digests

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]

STEPS = 3
HALVES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def on_gpu(lm: LanguageModel, dtype: torch.dtype) -> LanguageModel:
    lm.model.to(device="cuda", dtype=dtype)  # type: ignore[call-overload]
    return lm


@HALVES
@pytest.mark.parametrize("name", list(registry.methods()))
def test_a_method_takes_its_steps(name: str, dtype: torch.dtype, tiny_lm: Models, request_for: Requests) -> None:
    entry = registry.method(name)
    for fields in ({}, {"lora_rank": 2}) if "lora_rank" in vars(entry.build()) else ({},):
        lm, method = on_gpu(tiny_lm(), dtype), entry.build(fields)
        request = request_for(lm)
        assert request.general is not None
        request = replace(request, prepared=method.prepare(lm, request.general))
        if method.unsupported(lm, request):
            continue
        before = digests(lm.model)
        try:
            for _ in itertools.islice(method.unlearn(lm, request), STEPS):
                with torch.no_grad():
                    assert bool(lm.logits(request.forget).isfinite().all())
        except Unsupported as reason:
            pytest.skip(str(reason))
        assert digests(lm.model) != before
        assert {parameter.device.type for parameter in lm.model.parameters()} == {"cuda"}


@HALVES
def test_measuring_agrees_with_the_cpu(dtype: torch.dtype, tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm()
    lm.model.to(dtype)  # type: ignore[arg-type]
    text = request_for(lm).forget
    sets = {"forget": EvaluationText(tuple(map(str, range(text.documents))), text)}
    here = measure(lm, sets)["forget"]
    there = measure(on_gpu(lm, dtype), sets)["forget"]
    assert there.tokens == here.tokens
    assert there.mean_nll == pytest.approx(here.mean_nll, rel=1e-4 if dtype == torch.float32 else 3e-2)


def test_decoding_agrees_with_the_cpu(tiny_lm: Models, request_for: Requests) -> None:
    given = prompts(request_for(tiny_lm()).forget, most=2)
    assert greedy(on_gpu(tiny_lm(), torch.float32), given) == greedy(tiny_lm(), given)
    assert sampled(on_gpu(tiny_lm(), torch.float32), given, 2) == sampled(tiny_lm(), given, 2)


def test_a_batch_is_cut_when_the_gpu_runs_out(tiny_lm: Models, request_for: Requests) -> None:
    """A real out-of-memory error: the allocator may have no more than a little over what one window takes."""
    from benchmark import cross_entropy, descend

    lm = on_gpu(tiny_lm(), torch.float32)
    text = request_for(lm).forget
    ballast = 1 << 28  # bytes a window

    def loss(batch: object) -> torch.Tensor:
        torch.empty(len(batch) * ballast, dtype=torch.uint8, device="cuda")  # type: ignore[arg-type]
        return cross_entropy(lm, batch)  # type: ignore[arg-type]

    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    held = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (held + 2.5 * ballast) / total))
    try:
        next(descend(lm, loss, [text], lr=1e-3, steps=1, batch=8, seed=0))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert lm.plan.micro_batch == 2


def test_free_memory_is_the_gpus() -> None:
    device = torch.device("cuda:0")
    before = free_memory([device])
    block = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    assert free_memory([device]) <= before - block.nbytes + (1 << 22)
    assert before <= torch.cuda.get_device_properties(device).total_memory


def test_cells_run_there(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    methods = ["gradient-difference", "selective-pruning", "codebook"]
    records = run(planned(tiny_lab, tiny_corpus, tmp_path, methods, plugins=[], loading=Loading(device="cuda")))
    assert {record.status for record in records.values()} == {"ok"}
    step = records["arxiv", "gradient-difference", 0].trajectory[-1]
    assert step.cost.peak_memory > 0
    assert step.cost.flops > 0
    assert records["arxiv", "gradient-difference", 0].planned_memory["optimiser_state"] > 0
