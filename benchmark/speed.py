"""`python -m benchmark.speed`: what the harness costs, measured beside the plain PyTorch that it is compared with.

The two sides of a pair take turns, in alternating order, on the same text; the ratio is the median over the turns, so that a busy
moment of the machine hits one turn and not one side. Pairs are timed in CPU seconds on one thread, which other processes do not
stretch; what a user waits for is timed in wall seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from unittest import mock

import torch
import typer
from pydantic import BaseModel, ConfigDict
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils.logging import disable_progress_bar

from benchmark import cell as cells
from benchmark import evaluation, registry
from benchmark.corpus import load_corpus
from benchmark.cost import Meter
from benchmark.cost.flops import FlopCount
from benchmark.environment import environment
from benchmark.loading import ON_CPU
from benchmark.method import Request
from benchmark.model import LanguageModel, load_model
from benchmark.neurons import BATCH_TOKENS, Importance, neurons_of, selectivity, some_windows
from benchmark.passages import Passages
from benchmark.plan import Options, plan
from benchmark.record import Environment
from benchmark.source import resolve_model
from benchmark.splits import split

TASK = "github"
METHOD = "gradient-difference"
TEXT_TOKENS = 8192
"""Tokens of forget and of kept text in a scoring pass."""
BATCH = 12
"""Windows of each kind in an optimiser step: with 128 tokens each, the lab's own training batch."""

Work = Callable[[], object]


class Measured(BaseModel):
    """One line of the report: what was measured, and the most it may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    value: float
    unit: str
    """`ratio`, `share` or `seconds`."""
    limit: float | None
    """None: for information."""
    ours: float | None = None
    """Median CPU seconds of our side of a pair."""
    plain: float | None = None
    """Median CPU seconds of the side that it is compared with."""
    turns: int = 1


class Report(BaseModel):
    """What one run of this module found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: Environment
    model: str
    measured: tuple[Measured, ...]


def measure_speed(model: str, turns: int) -> Report:
    """Take every measurement on one model, a lab model by default."""
    torch.set_num_threads(1)
    folder = resolve_model(model).folder
    lm = load_model(folder)
    task = registry.task(TASK)
    splits = split(task, load_corpus(task.corpus))
    request = Request(lm.passages(splits.forget), lm.passages(splits.retain), lm.passages(splits.general), seed=0)
    measured = [
        *_scoring(lm, request, turns),
        _optimiser_step(lm, folder, request, turns),
        *_meter(lm, folder, request, turns),
        _cell_overhead(model),
        _wall("bench --help", 0.5, _help),
        _wall("loading the model", 1.0, lambda: load_model(folder)),
    ]
    return Report(environment=environment(ON_CPU), model=model, measured=tuple(measured))


def _scoring(lm: LanguageModel, request: Request, turns: int) -> Iterator[Measured]:
    """A selective-pruning scoring pass against forward passes over the same batches."""
    generator = torch.Generator().manual_seed(0)
    forget = some_windows(request.forget, TEXT_TOKENS, generator)
    kept = some_windows(request.kept("both"), TEXT_TOKENS, generator)
    parts = neurons_of(lm, "feed-forward")
    batches = [batch for text in (forget, kept) for batch in text.in_order(max(1, BATCH_TOKENS // text.ids.shape[1]))]

    @torch.no_grad()
    def forward(module: torch.nn.Module) -> None:
        for batch in batches:
            module(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False)

    def score(kind: Importance) -> Work:
        return lambda: selectivity(lm, forget, kept, parts, kind, eps=1e-3)

    kinds: tuple[Importance, ...] = ("abs", "rms", "std", "freq")
    for kind in kinds:
        yield _pair(f"scoring pass ({kind}) / forward pass", 1.25, score(kind), lambda: forward(lm.model), turns)
    yield _pair("scoring pass (abs) / forward pass without logits", None, score("abs"), lambda: forward(lm.model.base_model), turns)


def _optimiser_step(lm: LanguageModel, folder: Path, request: Request, turns: int) -> Measured:
    """A metered step of gradient difference against the same arithmetic written out in PyTorch, with its batches at hand."""
    generator = torch.Generator().manual_seed(request.seed)
    streams = [text.shuffled(BATCH, generator) for text in (request.forget, request.retain)]
    batches = iter([[next(stream) for stream in streams] for _ in range(turns + 1)])
    bare = load_model(folder).model
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-4, weight_decay=0.0)

    def loss(batch: Passages) -> torch.Tensor:
        logits = bare(input_ids=batch.ids, attention_mask=batch.mask.long(), use_cache=False).logits
        labels = batch.ids[:, 1:].masked_fill(~batch.mask[:, 1:], -100)
        return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels)

    def step() -> None:
        forget, kept = next(batches)
        (-loss(forget) + 2.0 * loss(kept)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with Meter(lm.model) as meter:
        result = _pair("metered optimiser step / plain PyTorch", 1.05, _metered(meter, _method_steps(lm, request)), step, turns)
    apart = max(float((a - b).detach().abs().max()) for a, b in zip(lm.model.parameters(), bare.parameters(), strict=True))
    if apart > 1e-4:
        raise RuntimeError(f"the two sides did not do the same arithmetic: weights differ by {apart:.1e}")
    return result


def _meter(lm: LanguageModel, folder: Path, request: Request, turns: int) -> Iterator[Measured]:
    """The meter's own cost, and that of a step that it has to count, beside PyTorch's counter."""
    plain = load_model(folder)
    unmetered = _method_steps(plain, request)
    with Meter(lm.model) as meter:
        yield _pair("metered step / unmetered", 1.03, _metered(meter, _method_steps(lm, request)), lambda: next(unmetered), turns)

    def counted(mode: Callable[[], FlopCount | FlopCounterMode]) -> Work:
        steps = _method_steps(load_model(folder), request)

        def step() -> None:
            with mode():
                next(steps)

        return step

    yield _pair("counted step / uncounted", None, counted(FlopCount), lambda: next(unmetered), turns)
    torch_mode = counted(lambda: FlopCounterMode(display=False))
    yield _pair("step under PyTorch's FLOP counter / uncounted", None, torch_mode, lambda: next(unmetered), turns)


def _method_steps(lm: LanguageModel, request: Request) -> Iterator[None]:
    settings = {"lr": 1e-4, "retain_weight": 2.0, "batch": BATCH, "steps": 1_000_000}
    return registry.method(METHOD).build(settings).unlearn(lm, request)


def _metered(meter: Meter, steps: Iterator[None]) -> Work:
    def step() -> None:
        with meter.running():
            next(steps)

    return step


def _cell_overhead(model: str) -> Measured:
    """The share of a cell's wall time that is neither the method's nor evaluation's: loading, splits, snapshots, the record."""
    evaluating = 0.0

    def timed(function: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object) -> object:
            nonlocal evaluating
            start = time.perf_counter()
            try:
                return function(*args)
            finally:
                evaluating += time.perf_counter() - start

        return run

    with tempfile.TemporaryDirectory(prefix="bench-") as out, ExitStack() as stack:
        for module, name in ((evaluation, "measure"), (evaluation, "divergence"), (cells, "measure")):
            stack.enter_context(mock.patch.object(module, name, timed(getattr(module, name))))
        _, planned = plan(Options(methods=(METHOD,), tasks=(TASK,), model=model, out=Path(out)))
        start = time.perf_counter()
        record = cells.run_cell(planned[-1])
        wall = time.perf_counter() - start
    if record.status != "ok":
        raise RuntimeError(f"the cell did not end well: {record.reason}")
    share = 1 - (evaluating + record.trajectory[-1].cost.seconds) / wall
    return Measured(name="harness share of a cell", value=share, unit="share", limit=0.05)


def _help() -> None:
    command = [sys.executable, "-c", "from benchmark.cli import main; main()", "--help"]
    subprocess.run(command, check=True, capture_output=True)


def _wall(name: str, limit: float, work: Work, turns: int = 7) -> Measured:
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return Measured(name=name, value=statistics.median(seconds), unit="seconds", limit=limit, turns=turns)


def _pair(name: str, limit: float | None, ours: Work, plain: Work, turns: int) -> Measured:
    """Take turns, ours first in one and second in the next, after one turn that does not count."""
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    sides = [("ours", ours), ("plain", plain)]
    for _ in range(turns + 1):
        for side, work in sides:
            start = time.process_time()
            work()
            seconds[side].append(time.process_time() - start)
        sides.reverse()
    first, second = seconds["ours"][1:], seconds["plain"][1:]
    ratio = statistics.median(a / b for a, b in zip(first, second, strict=True))
    return Measured(
        name=name,
        value=ratio,
        unit="ratio",
        limit=limit,
        ours=statistics.median(first),
        plain=statistics.median(second),
        turns=turns,
    )


def main(
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("results/speed.json"),
    model: Annotated[str, typer.Option(help="lab, or a local folder.")] = "lab",
    turns: Annotated[int, typer.Option(min=3, help="Turns of each pair.")] = 30,
) -> None:
    """Measure what the harness costs, write it as JSON, and show it."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    report = measure_speed(model, turns)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(report.model_dump_json(indent=2) + "\n", "utf-8")
    for line in report.measured:
        limit = "" if line.limit is None else f"{'ok' if line.value <= line.limit else 'MISSED'} (at most {line.limit:g})"
        typer.echo(f"{line.name:<50} {line.value:8.3f} {line.unit:<8} {limit}".rstrip())
    where = report.environment
    typer.echo(f"{where.processor}, {where.threads} thread, PyTorch {where.packages['torch']}; written to {out}")


if __name__ == "__main__":
    typer.run(main)
