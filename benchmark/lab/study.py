"""`python -m benchmark.lab.study LAB=RESULTS ...`: how labs of different sizes compare as instruments.

Each argument is a lab folder and the results folder of a run on it. The table is made from `lab.json` and the records.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark import scores, store
from benchmark.errors import InputError
from benchmark.lab import Lab, read_lab
from benchmark.record import Baseline, Documents, Record

METHODS = ("gradient-difference", "selective-pruning", "random-pruning")
HEADLINE = 1
"""Index of the budget that the methods are compared at."""


def study(labs: Sequence[tuple[Path, Path]]) -> str:
    """The labs as a Markdown table, a line for each task of each.

    Raises:
        InputError: a folder is not a lab, or its results cannot be read.
    """
    lines = [
        "| lab | parameters | training, min | task | gap, nats | noise floor | reference worse on retain, general | "
        + " | ".join(METHODS)
        + " |",
        "|---|--:|--:|---|--:|--:|--:|" + "--:|" * len(METHODS),
    ]
    for folder, results in labs:
        lab = read_lab(folder)
        records = store.read_all(results)
        for task in sorted(lab.references, key=lambda name: (name.endswith("-domain"), name)):
            lines.append(
                "| " + " | ".join(_line(lab, task, [r for r in records if r.spec.task == task and r.spec.target_seed == 0])) + " |"
            )
    return "\n".join(lines) + "\n"


def _line(lab: Lab, task: str, records: Sequence[Record]) -> list[str]:
    recipe = lab.recipe
    name = f"{recipe['hidden']} x {recipe['layers']}, vocabulary {recipe['vocabulary']}, {recipe['epochs']} epochs"
    reference = lab.references[task]
    baselines = [record.baseline for record in records if record.baseline is not None]
    if not baselines:
        raise InputError(f"no records of task {task!r} for the lab of {name}; run it first")
    target, retrained = baselines[0].target_test, baselines[0].reference_test
    worse = [math.expm1(retrained[kept].mean_nll - target[kept].mean_nll) for kept in scores.KEPT if kept in target]
    floor = "not measured" if reference.noise_floor is None else f"{reference.noise_floor:.3f}"
    return [
        name,
        f"{lab.parameters / 1e6:.2f} M",
        f"{reference.seconds / 60:.1f}",
        task,
        f"{forget_gap(baselines[0]):.2f}",
        floor,
        ", ".join(f"{rise:+.1%}" for rise in worse),
        *(_score(records, method) for method in METHODS),
    ]


def forget_gap(baseline: Baseline) -> float:
    """Reference minus target mean token NLL over the whole forget set, both halves, nats."""
    reference = _pooled(baseline.reference_validation["forget"], baseline.reference_test["forget"])
    return reference - _pooled(baseline.target_validation["forget"], baseline.target_test["forget"])


def _pooled(*halves: Documents) -> float:
    return sum(sum(half.nll) for half in halves) / sum(sum(half.tokens) for half in halves)


def _score(records: Sequence[Record], method: str) -> str:
    for record in records:
        if record.spec.method == method and record.operating_points and record.baseline is not None:
            test, baseline = record.operating_points[HEADLINE].test, record.baseline
            forget = (measured["forget"].mean_nll for measured in (test, baseline.target_test, baseline.reference_test))
            return f"{scores.forget_score(*forget):.2f}"
    return "-"


def main() -> None:
    """Print the table."""
    pairs = [argument.partition("=") for argument in sys.argv[1:]]
    try:
        print(study([(Path(lab), Path(results)) for lab, _, results in pairs]), end="")
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
