"""One task's figure: the trajectories on the left; on the right the headline numbers, which are its legend too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from benchmark.leaderboard import Board, formats
from benchmark.leaderboard.rows import CurvePoint, Row
from benchmark.leaderboard.strokes import Stroke
from benchmark.leaderboard.task_table import Ranked, TaskTable

GREY = "#888888"
DEEPEST = -0.3
"""Lowest score that is drawn: a wrecked model's curve leaves the figure."""

Strokes = Mapping[str, Stroke]


def task_figure(board: Board, table: TaskTable, strokes: Strokes) -> Figure:
    """Score against damage where there are scores; the drop on forget against that on retain where there are none."""
    shown = [ranked for ranked in table.rows if ranked.row.has_curve and not ranked.row.is_reference]
    figure = Figure(figsize=(11, max(4.4, 1.6 + 0.27 * len(shown))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.55, 1))
    if table.unscored is None:
        _score_curves(left, board, shown, strokes)
        _score_legend(right, board, shown, strokes)
    else:
        drop_curves(left, shown, strokes)
        drop_legend(right, shown, strokes)
    figure.suptitle(f"{table.task}: {_subject(table)}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _subject(table: TaskTable) -> str:
    return f"some documents of {table.domain} forgotten" if table.removes == "documents" else f"all of {table.domain} forgotten"


def _score_curves(axes: Axes, board: Board, shown: Sequence[Ranked], strokes: Strokes) -> None:
    largest = 1.25 * max(board.protocol.budgets)
    lowest = -0.05
    for ranked in reversed(shown):
        row = ranked.row
        for curve in row.curves:
            points = [(point.damage, point.score) for point in curve if point.score is not None]
            lowest = min([lowest, *(score for damage, score in points if damage <= largest)])
            draw_line(axes, points, strokes[row.label])
        if row.headline is not None and row.headline.score is not None:
            _mark(axes, row.headline.damage, row.headline.score.value, strokes[row.label])
    axes.set_xscale("function", functions=(_root, np.square))
    axes.set_xlim(0, largest)
    axes.set_ylim(max(DEEPEST, lowest) - 0.04, 1.06)
    ticks = sorted({0.0, *board.protocol.budgets, 0.1})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.budget(round(value, 6))))
    for budget in board.protocol.budgets:
        axes.axvline(budget, color=GREY, linewidth=1.4 if budget == board.budget else 0.7, linestyle=(0, (4, 3)), zorder=0)
    for height in (0, 1):
        axes.axhline(height, color="black", linewidth=0.8, zorder=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_height))
    axes.set_xlabel("utility damage (root scale; dashed: the budgets)")
    axes.set_ylabel("forget score")
    axes.set_title(f"Trajectories on validation; large marks: the {formats.budget(board.budget)} points, on test")


def _score_legend(axes: Axes, board: Board, shown: Sequence[Ranked], strokes: Strokes) -> None:
    values = [(ranked, ranked.row.score) for ranked in shown]
    known = [score for _, score in values if score is not None and score.known]
    lows, highs = [score.low for score in known], [score.high for score in known]
    legend(axes, [_entry(ranked, score and score.value) for ranked, score in values], strokes)
    for index, (ranked, score) in enumerate(values):
        if score is not None and score.known:
            axes.plot((score.low, score.high), (index, index), color=strokes[ranked.row.label].colour, linewidth=1.6, zorder=1)
    axes.axvline(0, color="black", linewidth=0.8, zorder=0)
    if max(highs, default=0) > 0.75:
        axes.axvline(1, color="black", linewidth=0.8, zorder=0)
    axes.set_xlim(max(DEEPEST, min([0.0, *lows])) - 0.04, min(1.0, max([0.2, *highs])) * 1.04 + 0.02)
    axes.set_xlabel("forget score (0: original, 1: retrained)")
    axes.set_title(f"At {formats.budget(board.budget)} damage, on test, with 95 % interval")


def drop_curves(axes: Axes, shown: Sequence[Ranked], strokes: Strokes) -> None:
    """Draw the relative top-1 drop on forget against that on retain, trajectory by trajectory."""
    reached = [(0.2, 0.2)]
    for ranked in reversed(shown):
        for curve in ranked.row.curves:
            points = [
                (point.retain_drop, point.forget_drop) for point in curve if point.retain_drop is not None and point.forget_drop is not None
            ]
            draw_line(axes, points, strokes[ranked.row.label])
            reached += points
            if points:
                _mark(axes, *max(points, key=lambda point: point[1] - point[0]), strokes[ranked.row.label])
    axes.axline((0, 0), slope=1, color="black", linewidth=0.8, zorder=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.budget(round(value, 6))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.budget(round(value, 6))))
    for limit, values in ((axes.set_xlim, [across for across, _ in reached]), (axes.set_ylim, [up for _, up in reached])):
        limit(-0.02, min(1.02, 1.05 * max(values)))
    axes.set_xlabel("relative top-1 drop on retain (line: no less than on forget)")
    axes.set_ylabel("relative top-1 drop on forget")
    axes.set_title("Trajectories on validation; large marks: where the difference is largest")


def drop_legend(axes: Axes, shown: Sequence[Ranked], strokes: Strokes) -> None:
    """List the same with the largest difference of the two drops."""
    values = [(ranked, _largest_difference(ranked.row)) for ranked in shown]
    legend(axes, [Entry(ranked.row.label, ranked.row.label, value) for ranked, value in values], strokes)
    for index, (ranked, value) in enumerate(values):
        if value is not None:
            axes.plot((0, value), (index, index), color=strokes[ranked.row.label].colour, linewidth=1.0, zorder=1)
    axes.axvline(0, color="black", linewidth=0.8, zorder=0)
    axes.set_xlim(-0.02, max([0.2, *(value for _, value in values if value is not None)]) * 1.04)
    axes.set_xlabel("drop on forget minus drop on retain")
    axes.set_title("Max difference, on validation")


def _largest_difference(row: Row) -> float | None:
    def largest(curve: Sequence[CurvePoint]) -> float:
        pairs = [(point.forget_drop, point.retain_drop) for point in curve]
        return max((forget - retain for forget, retain in pairs if forget is not None and retain is not None), default=math.nan)

    values = [largest(curve) for curve in row.curves]
    return None if any(map(math.isnan, values)) else sum(values) / len(values)


class Entry(NamedTuple):
    """A line of a legend."""

    label: str
    """Of the method, by which it has its stroke."""
    name: str
    """As shown."""
    value: float | None
    mark: str = ""
    """Behind the number."""


def _entry(ranked: Ranked, value: float | None) -> Entry:
    mark = ranked.row.headline.mark if ranked.row.headline is not None else ""
    return Entry(ranked.row.label, f"{formats.rank(ranked.rank)}  {ranked.row.label}", value, mark)


def legend(axes: Axes, entries: Sequence[Entry], strokes: Strokes) -> None:
    """One method a line from the top: name, a sample of its stroke, its mark and its number."""
    across = axes.get_yaxis_transform()
    for index, entry in enumerate(entries):
        stroke = strokes[entry.label]
        axes.plot(
            (-0.11, -0.02), (index, index), color=stroke.colour, linestyle=stroke.line, linewidth=1.6, transform=across, clip_on=False
        )
        axes.plot(-0.065, index, color=stroke.colour, marker=stroke.marker, markersize=6, transform=across, clip_on=False)
        if entry.value is not None:
            _mark(axes, entry.value, index, stroke)
        axes.annotate(f"{formats.number(entry.value)}{entry.mark}", (1.02, index), xycoords=across, va="center", ha="left")
    axes.set_yticks(range(len(entries)), [entry.name for entry in entries])
    axes.tick_params(axis="y", length=0, pad=38)
    axes.set_ylim(max(len(entries), 4) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def draw_line(axes: Axes, points: Sequence[tuple[float, float]], stroke: Stroke) -> None:
    """Draw one method's curve through (across, up)."""
    across, up = zip(*points, strict=True) if points else ((), ())
    every = max(1, len(points) // 6)
    axes.plot(across, up, color=stroke.colour, linestyle=stroke.line, linewidth=1.4, marker=stroke.marker, markersize=3.5, markevery=every)


def _mark(axes: Axes, across: float, up: float, stroke: Stroke) -> None:
    axes.plot(across, up, color=stroke.colour, marker=stroke.marker, markersize=8, markeredgecolor="black", markeredgewidth=0.9, zorder=5)


def _height(value: float, position: int | None) -> str:
    """Scores on the axis, with what 0 and 1 stand for."""
    known = {0.0: "original  0.0", 1.0: "retrained  1.0"}
    return known.get(round(value, 6), f"{value:.1f}")


def _root(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(value, 0))
