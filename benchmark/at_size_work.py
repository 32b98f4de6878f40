"""One piece of work on a model of some size, by this project or in plain PyTorch, measured in a process of its own.

Run by `benchmark.at_size`, which reads the line of JSON that this prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import typer
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from benchmark import registry
from benchmark.corpus import load_corpus
from benchmark.cost import Meter
from benchmark.cost.memory import peak_memory
from benchmark.loading import Loading
from benchmark.measure import BATCH_TOKENS, EvaluationText, measure
from benchmark.method import Request
from benchmark.model import LanguageModel, load_model
from benchmark.passages import Passages, passages
from benchmark.record import Cost, Dtype
from benchmark.snapshot import digests
from benchmark.splits import split

TASK = "github"
PRUNED = 0.01
"""Fraction of the neurons that a pruning step takes."""
EPS = 1e-3

Work = Literal["evaluation", "pruning", "gradient"]
Side = Literal["ours", "plain"]


class Measured(BaseModel):
    """What one side took for one piece of work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    work: Work
    side: Side
    seconds: float
    cpu_seconds: float
    tokens: int
    """Run forward, padding included."""
    flops: int
    """0 on the plain side, which counts none."""
    parameters: int
    peak_memory: int
    """Bytes beyond what the process held before it loaded the model; on a GPU, bytes allocated."""
    planned_memory: dict[str, int]
    """As the memory plan had it; empty on the plain side."""


def texts(tokenizer: PreTrainedTokenizerBase, length: int, windows: int) -> tuple[Passages, Passages]:
    """The longest windows of the text to be forgotten, and of the text to be kept."""
    task = registry.task(TASK)
    splits = split(task, load_corpus(task.corpus))
    forget, kept = (next(passages(documents, tokenizer, length).in_order(windows)) for documents in (splits.forget, splits.retain))
    return forget, kept


def ours(work: Work, lm: LanguageModel, forget: Passages, kept: Passages) -> Callable[[], object]:
    """The work as a cell does it; calling the result does it once more."""
    if work == "evaluation":
        text = EvaluationText(tuple(str(document) for document in range(forget.documents)), forget)
        return lambda: measure(lm, {"forget": text})
    settings: dict[str, Any] = {
        "selective-pruning": {"importance": "abs", "step": PRUNED, "eps": EPS},
        "gradient-difference": {"retain_weight": 2.0, "batch": len(forget)},
    }
    name = "selective-pruning" if work == "pruning" else "gradient-difference"
    steps = iter(registry.method(name).build(settings[name]).unlearn(lm, Request(forget, kept, None, seed=0)))
    return lambda: next(steps)


def plain(work: Work, model: PreTrainedModel, forget: Passages, kept: Passages) -> Callable[[], object]:
    """The same arithmetic written out in PyTorch, with its batches at hand."""
    if work == "evaluation":
        return lambda: _evaluate(model, forget)
    if work == "pruning":
        return lambda: _prune(model, forget, kept)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=0.0)

    def step() -> None:
        (2.0 * _loss(model, kept) - _loss(model, forget)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _loss(model: PreTrainedModel, batch: Passages) -> Tensor:
    batch = batch.to(model.device)
    logits = model(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False).logits
    return F.cross_entropy(logits.float().flatten(0, 1), F.pad(batch.ids[:, 1:], (0, 1), value=-100).flatten())


@torch.inference_mode()
def _evaluate(model: PreTrainedModel, text: Passages) -> None:
    for batch in text.in_order(max(1, BATCH_TOKENS // text.ids.shape[1])):
        batch = batch.to(model.device)
        logits = model(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False).logits.float()
        F.cross_entropy(logits.flatten(0, 1), F.pad(batch.ids[:, 1:], (0, 1)).flatten(), reduction="none").cpu()
        logits.argmax(dim=-1).cpu()


@torch.no_grad()
def _prune(model: PreTrainedModel, forget: Passages, kept: Passages) -> None:
    outputs = [module for name, module in model.named_modules() if name.endswith("mlp.dense_4h_to_h")]
    used: list[list[Tensor]] = [[], []]

    def watch(means: list[Tensor], module: nn.Module, given: tuple[Tensor, ...]) -> None:
        means.append(given[0].abs().mean(dim=(0, 1)))

    for means, text in zip(used, (forget, kept), strict=True):
        hooks = [module.register_forward_pre_hook(partial(watch, means)) for module in outputs]
        batch = text.to(model.device)
        model.base_model(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False)
        for hook in hooks:
            hook.remove()
    scores = torch.stack(used[0]) / (torch.stack(used[1]) + EPS)
    chosen = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    chosen[scores.flatten().topk(max(1, round(PRUNED * scores.numel()))).indices] = True
    for module, neurons in zip(outputs, chosen.view_as(scores), strict=True):
        module.get_parameter("weight")[:, neurons] = 0


def measured(folder: Path, work: Work, side: Side, length: int, windows: int, loading: Loading) -> Measured:
    """Load a model, do the work twice, and say what the second time took; the peak is that of both."""
    place = torch.device(loading.device)
    memory = peak_memory([place])
    forget, kept = texts(AutoTokenizer.from_pretrained(folder), length, windows)
    before = 0
    if place.type == "cpu":
        memory.start()
        before = memory.stop()
    if side == "ours":
        lm = load_model(folder, loading, context=length)
        model = lm.model
        digests(model)  # as a cell does before the first step
        lm.plan.batch = windows
        lm.plan.look_at(model, length, False, ())
        spent = _metered(model, ours(work, lm, forget, kept))
    else:
        attention = loading.attention(AutoConfig.from_pretrained(folder))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=loading.torch_dtype, attn_implementation=attention)
        model.train(False)
        model.to(place)  # type: ignore[arg-type]
        spent = _timed(place, plain(work, model, forget, kept))
    return Measured(
        work=work,
        side=side,
        seconds=spent.seconds,
        cpu_seconds=spent.cpu_seconds,
        tokens=forget.ids.numel() + (0 if work == "evaluation" else kept.ids.numel()),
        flops=spent.flops,
        parameters=model.num_parameters(),
        peak_memory=spent.peak_memory - before,
        planned_memory=lm.plan.parts if side == "ours" else {},
    )


def _metered(model: PreTrainedModel, work: Callable[[], object]) -> Cost:
    with Meter(model) as meter:
        with meter.running():
            work()
        first = meter.cost()
        with meter.running():
            work()
        both = meter.cost()
    return Cost(
        seconds=both.seconds - first.seconds,
        cpu_seconds=both.cpu_seconds - first.cpu_seconds,
        flops=both.flops - first.flops,
        peak_memory=both.peak_memory,
    )


def _timed(device: torch.device, work: Callable[[], object]) -> Cost:
    memory = peak_memory([device])
    memory.start()
    work()
    _finish(device)
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    _finish(device)
    return Cost(seconds=time.perf_counter() - clock, cpu_seconds=time.process_time() - cpu, peak_memory=memory.stop())


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(folder: Path, work: str, side: str, length: int, windows: int, device: str, dtype: str) -> None:
    """Print what a piece of work took, as JSON."""
    found = measured(
        folder, _WORKS[work], "ours" if side == "ours" else "plain", length, windows, Loading(device=device, dtype=_DTYPES[dtype])
    )
    typer.echo(found.model_dump_json())


_DTYPES: dict[str, Dtype] = {"float32": "float32", "bfloat16": "bfloat16"}
_WORKS: dict[str, Work] = {"evaluation": "evaluation", "pruning": "pruning", "gradient": "gradient"}

if __name__ == "__main__":
    typer.run(main)
