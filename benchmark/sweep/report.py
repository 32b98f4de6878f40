"""A sweep's files from its records: the trials, how robust each method is, and on domain tasks what is lost where."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from benchmark import scores, sweep
from benchmark.leaderboard import drops
from benchmark.leaderboard.figures import as_files, look
from benchmark.leaderboard.markdown import section_text, table_text
from benchmark.leaderboard.rows import Row, rows
from benchmark.leaderboard.section import Table
from benchmark.leaderboard.strokes import strokes
from benchmark.leaderboard.tuning import Tuning, sweep_tuning
from benchmark.leaderboard.tuning_figure import tuning_figure
from benchmark.leaderboard.tuning_section import FIGURE, drawable, tuning_section
from benchmark.record import Record
from benchmark.registry import MethodEntry
from benchmark.sweep import robustness


def report(
    records: Sequence[Record],
    entries: Sequence[MethodEntry],
    tasks: Sequence[str],
    budget: float,
    varied: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, bytes]:
    """The content of every file by its name: `sweep.md`, `sweep.csv`, `tuning.csv`, `robustness.csv`, and figures as SVG and PNG.

    Args:
        records: of the sweep and of no other.
        entries: the methods tried.
        tasks: those they were tried on.
        budget: of utility damage, the headline one.
        varied: the fields that tell a method's trials apart, if not those that it searches.
    """
    summed = rows(records)
    parts = [sweep.table(sweep.trials(records, entries, tasks, budget, varied), tasks, budget)]
    files = {"sweep.csv": _settings_csv(records, summed, budget)}
    tuned = sweep_tuning(records)
    if tuned is not None:
        parts.append(section_text(tuning_section(tuned)))
        files["tuning.csv"] = _csv([_tuning_line(tuning) for tuning in tuned.tunings])
    robust = robustness.robustness(records, budget)
    if any(line.points for line in robust):
        parts.append(_captioned(robustness.table(robust, budget)))
        files["robustness.csv"] = _csv([vars(line) for line in robust])
    with look():
        if tuned is not None and drawable(tuned):
            drawn = as_files(FIGURE, tuning_figure(tuned, strokes(tuning.method for tuning in tuned.tunings)))
            files |= {f"figures/{file}": content for file, content in drawn.items()}
        for task in tasks:
            found = drops.differences(summed, task)
            if not found:
                continue
            parts.append(_captioned(drops.table(found, task)))
            name = re.sub(r"[^\w-]", "_", task)
            if curves := drops.figure(found, task):
                files |= {f"figures/{file}": content for file, content in as_files(name, curves).items()}
                parts.append(f"![{task}: what is lost on forget and on retain](figures/{name}.svg)\n")
    return files | {"sweep.md": "\n".join(parts).encode()}


def _tuning_line(tuning: Tuning) -> dict[str, object]:
    line = {name: value for name, value in vars(tuning).items() if name != "best_of"}
    return line | {f"best_of_{k}": score for k, score in enumerate(tuning.best_of, 1)}


def _captioned(table: Table) -> str:
    return f"{table.caption}\n\n{table_text(table)}"


def _settings_csv(records: Sequence[Record], summed: Sequence[Row], budget: float) -> bytes:
    """One row a task and setting."""
    by_key = {record.spec.key(): record for record in records}

    def merit(row: Row) -> float | None:
        merits = [scores.validation_merit(by_key[key].trajectory, budget) for key in row.keys] if row.status == "ok" else []
        return sum(merits) / len(merits) if merits else None

    return _csv(
        [
            {
                "task": row.task,
                "method": row.method,
                "label": row.label,
                "hyperparameters": json.dumps(row.hyperparameters, sort_keys=True),
                "seeds": " ".join(map(str, row.seeds)),
                "status": row.status,
                "reason": row.reason,
                f"validation_merit_at_{100 * budget:g}_percent": merit(row),
                "max_top1_difference_validation": row.max_difference,
                "records": " ".join(row.keys),
            }
            for row in summed
        ]
    )


def _csv(lines: Sequence[Mapping[str, object]]) -> bytes:
    return pd.DataFrame(lines, dtype=object).to_csv(index=False, lineterminator="\n").encode()
