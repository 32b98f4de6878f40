"""The panel for machines: one row a task, method and metric, at full precision."""

from __future__ import annotations

import pandas as pd

from benchmark.leaderboard import Board
from benchmark.leaderboard.panel import PanelRow, TaskPanel

Cell = str | float | None


def panel_csv(board: Board) -> str:
    """An empty cell is a missing value; without a panel there is the header alone."""
    cells = [
        _cells(panel, label, row, metric)
        for table in board.tasks
        if (panel := board.panel(table.task)) is not None
        for label, row in panel.rows.items()
        for metric in panel.metrics
    ]
    frame = pd.DataFrame(cells, columns=list(COLUMNS), dtype=object)
    return frame.to_csv(index=False, lineterminator="\n")


COLUMNS = (
    "task",
    "label",
    "axis",
    "metric",
    "value",
    "low",
    "high",
    "minus_reference",
    "minus_reference_low",
    "minus_reference_high",
    "score",
)


def _cells(panel: TaskPanel, label: str, row: PanelRow, metric: str) -> tuple[Cell, ...]:
    reading = row.panel[metric]
    named = (panel.task, label, panel.metrics[metric], metric)
    if reading is None:
        return (*named, *(None,) * (len(COLUMNS) - len(named)))
    return (
        *named,
        reading.agg_value,
        *(reading.interval or (None, None)),
        reading.minus_reference,
        *(reading.minus_reference_interval or (None, None)),
        reading.score,
    )
