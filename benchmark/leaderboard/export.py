"""The leaderboard for machines, at full precision: CSV with one row a task and method, and JSON with everything."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import pandas as pd
from pydantic import BaseModel, JsonValue

from benchmark import store
from benchmark.leaderboard import Board
from benchmark.leaderboard.rows import SETS, Row
from benchmark.leaderboard.task_table import Ranked, TaskTable
from benchmark.scores import Interval

BOARD_SCHEMA = 3
"""Of leaderboard.json: raised when its shape or the meaning of a field changes."""

Cell = str | int | float | None


def to_json(board: Board) -> str:
    """Everything on the board, curves included; what a field marks as unpublished is left to the records."""
    return store.to_json({"schema_version": BOARD_SCHEMA, "leaderboard": _plain(board)}) + "\n"


def to_csv(board: Board) -> str:
    """One row a task and method; an empty cell is a missing value."""
    frame = pd.DataFrame(
        [_csv_row(table, ranked) | _utility(board, ranked.row) for table in board.tasks for ranked in table.rows], dtype=object
    )
    return frame.to_csv(index=False, lineterminator="\n")


def _csv_row(table: TaskTable, ranked: Ranked) -> dict[str, Cell]:
    row = ranked.row
    cells: dict[str, Cell] = {
        "task": table.task,
        "domain": table.domain,
        "removes": table.removes,
        "reference": table.reference_kind,
        "method": row.method,
        "label": row.label,
        "hyperparameters": json.dumps(row.hyperparameters, sort_keys=True),
        "control": row.control,
        "rank": None if ranked.rank is None else ranked.rank.best,
        "rank_worst": None if ranked.rank is None else ranked.rank.worst,
        "status": row.status,
        "reason": row.reason,
        "target_seeds": " ".join(map(str, row.target_seeds)),
        "seeds": " ".join(map(str, row.seeds)),
    }
    for point in row.points:
        at = f"at_{100 * point.budget:g}_percent"
        score = point.score
        cells |= {
            f"forget_score_{at}": score and score.value,
            f"forget_score_{at}_low": score.low if score and score.known else None,
            f"forget_score_{at}_high": score.high if score and score.known else None,
            f"forget_score_counted_{at}": point.counted and point.counted.value,
            f"utility_damage_{at}": point.damage,
            f"utility_damage_largest_{at}": point.largest_damage,
            f"step_{at}": point.step,
        }
    cells |= {
        "area_under_validation_curve": row.area,
        "js_distance_forget_bits_per_token": row.divergence,
        **{f"top1_{name}": row.top1.get(name) for name in SETS},
        "max_top1_difference_validation": row.max_difference,
        "insertion_damage_validation": None if row.insertion is None else row.insertion.damage,
        "insertion_forget_nll_rise_validation": None if row.insertion is None else row.insertion.forget_rise,
    }
    return cells | _expense(row) | {"records": " ".join(row.keys)}


def _utility(board: Board, row: Row) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for table in board.utility:
        if table.metric is None:
            continue
        name, gauge = f"utility_{table.name}_{table.metric}", table.gauge(row)
        cells |= {
            name: gauge.value if gauge else None,
            f"{name}_stderr": gauge.stderr if gauge else None,
            f"{name}_change": gauge.change if gauge else None,
            f"{name}_change_stderr": gauge.change_stderr if gauge else None,
        }
    return cells


def _expense(row: Row) -> dict[str, Cell]:
    expense = row.expense
    if expense is None:
        return {}
    return {
        "flops": expense.flops,
        "retraining_flops": expense.retraining_flops,
        "forward_tokens": expense.forward_tokens,
        "backward_tokens": expense.backward_tokens,
        "seconds": expense.seconds,
        "cpu_seconds": expense.cpu_seconds,
        "peak_memory_bytes": expense.peak_memory,
        "parameters_changed": expense.parameters_changed,
        "prepare_flops": expense.prepare_flops,
        "prepare_seconds": expense.prepare_seconds,
    }


def _plain(value: object) -> JsonValue:
    """Dataclasses, named tuples and pydantic models as JSON values."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value):
        published = (field.name for field in dataclasses.fields(value) if field.metadata.get("published", True))
        return {name: _plain(getattr(value, name)) for name in published}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Interval) and not value.known:
        return {"value": value.value, "low": None, "high": None}
    if isinstance(value, list | tuple):
        names = getattr(value, "_fields", None)
        return {name: _plain(item) for name, item in zip(names, value, strict=True)} if names else [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form")
