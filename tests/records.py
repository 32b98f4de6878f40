"""Synthetic records: a task is a set of documents, and a method is a path of (damage, forgetting) pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from benchmark.record import (
    Baseline,
    Cost,
    Documents,
    Environment,
    Measurement,
    OperatingPoint,
    Protocol,
    Record,
    Scalar,
    Spec,
    Status,
    Step,
)

DOCUMENTS = 12
TOKENS = 100
TARGET = {"forget": 2.0, "retain": 3.0, "holdout": 3.5, "general": 2.5}
REFERENCE = {"forget": 3.0, "retain": 3.0, "holdout": 3.5, "general": 2.5}
TOP1 = 0.5

Removes = Literal["documents", "domain"]
Kind = Literal["exact", "approximate", "none"]


def documents(name: str, nll: float, top1: float = TOP1) -> Documents:
    """Documents around a mean token NLL: some are harder than others for every model, and a little more for one than for another."""
    spread = [0.3 * math.sin(3 * index) + 0.05 * math.sin(7 * index + 9 * nll) for index in range(DOCUMENTS)]
    middle = sum(spread) / DOCUMENTS
    return Documents(
        ids=tuple(f"{name}-{index}" for index in range(DOCUMENTS)),
        nll=tuple(TOKENS * (nll + offset - middle) for offset in spread),
        correct=(round(TOKENS * top1),) * DOCUMENTS,
        tokens=(TOKENS,) * DOCUMENTS,
    )


def measurement(nll: dict[str, float], forget_top1: float = TOP1) -> Measurement:
    return {name: documents(name, value, forget_top1 if name == "forget" else TOP1) for name, value in nll.items()}


def moved(forgetting: float, damage: float) -> dict[str, float]:
    """NLL of a model that has gone `forgetting` of the way to the reference, with some utility damage."""
    lost = math.log1p(damage)
    return TARGET | {"forget": 2.0 + forgetting, "retain": 3.0 + lost, "general": 2.5 + lost}


def baseline(kind: Kind = "exact", reference: dict[str, float] | None = None, noise_floor: float | None = 0.05) -> Baseline:
    measured = measurement(reference or REFERENCE)
    if kind == "approximate":
        measured = {"forget": documents("holdout", (reference or REFERENCE)["forget"])}
    if kind == "none":
        measured = {}
    return Baseline(
        reference_kind=kind,
        target_validation=measurement(TARGET),
        target_test=measurement(TARGET),
        reference_validation=measured,
        reference_test=measured,
        noise_floor=noise_floor if kind == "exact" else None,
    )


def spec(
    method: str = "ascent",
    task: str = "arxiv",
    *,
    seed: int = 0,
    target_seed: int = 0,
    hyperparameters: dict[str, Scalar] | None = None,
    source: str = "s" * 64,
    model_fingerprint: str = "m" * 64,
    data_fingerprint: str = "d" * 64,
    protocol: Protocol | None = None,
) -> Spec:
    return Spec(
        task=task,
        method=method,
        source=source,
        hyperparameters={"lr": 1e-4} if hyperparameters is None else hyperparameters,
        seed=seed,
        target_seed=target_seed,
        model="lab",
        model_fingerprint=model_fingerprint,
        setting="lab",
        data_fingerprint=data_fingerprint,
        protocol=protocol or Protocol(),
    )


def environment(time: str = "2026-01-01T00:00:00+00:00", processor: str = "Some CPU") -> Environment:
    return Environment(
        time=time,
        version="0.1.0",
        python="3.11.7",
        packages={"torch": "2.13.0", "transformers": "5.9.0"},
        platform="Linux-x86_64",
        processor=processor,
        device="cpu",
        threads=2,
    )


def record(
    cell: Spec,
    path: Sequence[tuple[float, float]] = ((0.01, 0.2), (0.04, 0.5), (0.15, 0.7)),
    *,
    kind: Kind = "exact",
    removes: Removes = "documents",
    status: Status = "ok",
    reason: str | None = None,
    flops: int = 10**12,
    reference: dict[str, float] | None = None,
    made: Environment | None = None,
    prepare: Cost | None = None,
) -> Record:
    """A record whose method passes through `path`, (damage, share of the gap to the reference) by step.

    Test equals validation, and the operating points are the best steps inside the budgets.
    """
    judged = baseline(kind, reference)
    passed = [(0.0, 0.0), *path]
    steps = tuple(_step(number, damage, forgetting, flops, kind) for number, (damage, forgetting) in enumerate(passed))
    done = status == "ok"
    return Record(
        spec=cell,
        status=status,
        reason=reason,
        removes=removes,
        domain=cell.task.removesuffix("-domain"),
        baseline=judged if status != "failed" else None,
        trajectory=steps if done else steps[:1] * (status == "diverged"),
        operating_points=tuple(_point(budget, passed, flops, kind) for budget in cell.protocol.budgets) if done else (),
        prepare_cost=prepare or Cost(),
        retraining_flops=31e12,
        environment=made or environment(),
    )


def _step(number: int, damage: float, forgetting: float, flops: int, kind: Kind) -> Step:
    return Step(
        step=number,
        nll=moved(forgetting, damage),
        top1={name: TOP1 * max(0.0, 1 - 0.4 * forgetting) if name == "forget" else TOP1 * max(0.0, 1 - damage) for name in TARGET},
        damage=damage,
        score=None if kind == "none" else 1 - abs(forgetting - 1),
        cost=_cost(flops, number),
    )


def _point(budget: float, passed: Sequence[tuple[float, float]], flops: int, kind: Kind) -> OperatingPoint:
    inside = [number for number, (damage, _) in enumerate(passed) if damage <= budget]
    best = max(inside, key=lambda number: (1 - abs(passed[number][1] - 1), -number))
    damage, forgetting = passed[best]
    return OperatingPoint(
        budget=budget,
        step=best,
        test=measurement(moved(forgetting, damage), max(0.0, round(TOP1 * (1 - 0.4 * forgetting), 2))),
        divergence={name: 0.1 * abs(1 - forgetting) for name in TARGET} if kind == "exact" else None,
        parameters_changed=1000 * best,
        cost=_cost(flops, best),
    )


def _cost(flops: int, steps: int) -> Cost:
    return Cost(
        forward_tokens=2048 * steps,
        backward_tokens=1024 * steps,
        flops=flops * steps,
        seconds=0.5 * steps,
        cpu_seconds=0.75 * steps,
        peak_memory=steps and 400 * 2**20,
    )


def harmed(cell: Record, damage: float, forgetting: float | None = None) -> Record:
    """The same with this damage on the test half at the 5 % point, and this share of the gap forgotten."""
    lost = math.log1p(damage)
    low, headline, high = cell.operating_points
    test = headline.test | measurement({"retain": 3.0 + lost, "general": 2.5})
    if forgetting is not None:
        test |= {"forget": documents("forget", 2.0 + forgetting)}
    return cell.model_copy(update={"operating_points": (low, headline.model_copy(update={"test": test}), high)})


def reference_row(method: str, task: str = "arxiv", *, forgetting: float, kind: Kind = "exact", removes: Removes = "documents") -> Record:
    """A record as the harness makes one for a fixed model: no trajectory, and step 0 at every budget."""
    made = record(spec(method, task, hyperparameters={}), ((0.0, forgetting),), kind=kind, removes=removes, flops=0)
    points = tuple(point.model_copy(update={"step": 0}) for point in made.operating_points)
    return made.model_copy(update={"trajectory": (), "operating_points": points})


def original(task: str = "arxiv", kind: Kind = "exact", removes: Removes = "documents") -> Record:
    return reference_row("original", task, forgetting=0.0, kind=kind, removes=removes)


def retrained(task: str = "arxiv", kind: Kind = "exact", removes: Removes = "documents") -> Record:
    cell = spec("retrained", task, hyperparameters={})
    if kind != "exact":
        return record(cell, kind=kind, removes=removes, status="declined", reason="the reference is not a model")
    return reference_row("retrained", task, forgetting=1.0, kind=kind, removes=removes)


PATHS: dict[str, tuple[tuple[float, float], ...]] = {
    "gradient-difference": ((0.002, 0.1), (0.008, 0.25), (0.02, 0.4), (0.045, 0.62), (0.1, 0.85), (0.19, 1.0), (0.3, 1.3)),
    "gradient-ascent": ((0.004, 0.06), (0.02, 0.12), (0.049, 0.2), (0.12, 0.35), (0.25, 0.5)),
    "selective-pruning": ((0.009, 0.03), (0.03, 0.1), (0.05, 0.16), (0.18, 0.3), (0.3, 0.33)),
    "random-pruning": ((0.01, 0.01), (0.05, 0.05), (0.2, 0.09), (0.4, 0.12)),
    "wrecking": ((0.01, 2.5), (0.6, 7.0)),
}
"""Methods that behave like some real ones, and one that destroys the model."""


def suite(domain_kind: Kind = "exact") -> list[Record]:
    """A board's worth: two document tasks and a domain task, references and methods, one of which fails once."""
    tasks: tuple[tuple[str, Removes, Kind], ...] = (
        ("arxiv", "documents", "exact"),
        ("books", "documents", "exact"),
        ("books-domain", "domain", domain_kind),
    )
    records = []
    for index, (task, removes, kind) in enumerate(tasks):
        records += [original(task, kind, removes), retrained(task, kind, removes)]
        for rank, (method, path) in enumerate(PATHS.items()):
            scaled = [(damage, forgetting * (1 - 0.1 * index)) for damage, forgetting in path]
            records.append(record(spec(method, task), scaled, kind=kind, removes=removes, flops=10 ** (12 - 3 * (rank % 3))))
        failed = spec("fragile", task)
        if index == 1:
            records.append(record(failed, kind=kind, removes=removes, status="failed", reason="out of memory in step 3"))
        else:
            records.append(record(failed, kind=kind, removes=removes))
    return records
