"""The overview figure: how well each method forgets, against what it costs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from benchmark.leaderboard import Board, formats
from benchmark.leaderboard.strokes import Stroke
from benchmark.leaderboard.task_table import TaskTable

PLACES = [
    (distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle)))
    for distance in (9, 14, 22, 32, 44, 58, 74)
    for angle in (0, 30, -30, 180, 150, -150, 60, -60, 120, -120, 90, -90)
]
"""Where a label may stand, in points from its mark, best first."""


class Mark(NamedTuple):
    """One method."""

    label: str
    flops: float
    score: float


def overview_figure(board: Board, strokes: Mapping[str, Stroke]) -> Figure:
    """Mean headline score over the document tasks (over the others if none of them has scores) against mean FLOPs."""
    kind = "documents" if any(table.removes == "documents" for table in board.scored_tasks) else "domain"
    tables = [table for table in board.scored_tasks if table.removes == kind]
    marks = _marks(tables)
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    left = _cost_axis(axes, [mark.flops for mark in marks])
    for mark in marks:
        look = strokes[mark.label]
        axes.plot(mark.flops or left, mark.score, look.marker, color=look.colour, markersize=8, markeredgecolor="black", clip_on=False)
    scores = [mark.score for mark in marks]
    axes.set_ylim(min([0.0, *scores]) - 0.06, max([0.2, *scores]) * 1.1 + 0.03)
    for height in (0, 1):
        if height <= max([0.0, *scores]) + 0.1:
            axes.axhline(height, color="black", linewidth=0.8, zorder=0)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel(f"forget score at {formats.budget(board.budget)} utility damage")
    axes.set_xlabel("FLOPs of unlearning")
    names = ", ".join(table.task for table in tables)
    axes.set_title(
        f"{board.model}: forgetting against its cost, mean over {names}\nup and to the left is better; 0: original, 1: retrained"
    )
    spots: defaultdict[tuple[float, float], list[str]] = defaultdict(list)
    for mark in marks:
        spots[mark.flops or left, round(mark.score, formats.DECIMALS)].append(mark.label)
    _label(figure, axes, [("\n".join(labels), across, up) for (across, up), labels in spots.items()])
    return figure


def _marks(tables: Sequence[TaskTable]) -> list[Mark]:
    """The methods that have a score on all of these tasks, best first."""
    found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for table in tables:
        for row in (ranked.row for ranked in table.rows if ranked.rank is not None):
            if row.expense is not None and row.score is not None:
                found[row.label].append((row.expense.flops, row.score.value))
    marks = [
        Mark(label, sum(flops for flops, _ in cells) / len(cells), sum(score for _, score in cells) / len(cells))
        for label, cells in found.items()
        if len(cells) == len(tables)
    ]
    return sorted(marks, key=lambda mark: (-mark.score, mark.label))


def _cost_axis(axes: Axes, flops: Sequence[float]) -> float:
    """Set a log scale up; returns where on it stands what costs nothing."""
    spent = [value for value in flops if value > 0]
    free = len(spent) < len(flops)
    spent = spent or [1.0]
    lowest = math.floor(math.log10(min(spent)))
    highest = max(math.ceil(math.log10(max(spent))), lowest + 1)
    left: float = 10.0 ** (lowest - max(0.4, 0.15 * (highest - lowest)))
    every = max(1, math.ceil((highest - lowest) / 8))
    ticks = [10.0**power for power in range(lowest, highest + 1, every)]
    axes.set_xscale("log")
    room = 0.12 * (highest - lowest)  # for the labels
    axes.set_xlim(left if free else 10.0 ** (lowest - 0.1), max(spent) * 10.0**room)
    axes.xaxis.set_major_locator(FixedLocator([left, *ticks] if free else ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.count(0 if value < 10.0 ** (lowest - 0.2) else value)))
    if free:
        axes.axvline(10.0 ** (lowest - 0.12), color="#888888", linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
    return left


def _label(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Name each point where its name covers no mark and no other name; a thin line leads to names further off."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    pixels = [axes.transData.transform((across, up)) for _, across, up in points]
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in pixels]
    for name, across, up in points:
        best: tuple[int, Annotation] | None = None
        for offset in PLACES:
            note = _annotate(axes, name, (across, up), offset)
            box = _extent(canvas, note)
            clashes = sum(box.overlaps(other) for other in taken) + 3 * (not _inside(axes, box))
            if best is None or clashes < best[0]:
                if best is not None:
                    best[1].remove()
                best = (clashes, note)
            else:
                note.remove()
            if clashes == 0:
                break
        if best is not None:
            taken.append(_extent(canvas, best[1]))


def _annotate(axes: Axes, name: str, point: tuple[float, float], offset: tuple[float, float]) -> Annotation:
    across, up = offset
    sideways = "left" if across > 1 else "right" if across < -1 else "center"
    upwards = "bottom" if up > 1 else "top" if up < -1 else "center"
    far = math.hypot(across, up) > 12
    line = {"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4} if far else None
    note = axes.annotate(name, point, offset, textcoords="offset points", ha=sideways, va=upwards, arrowprops=line)
    note.set_in_layout(False)
    note.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    return note


def _extent(canvas: FigureCanvasAgg, note: Annotation) -> Bbox:
    """Of the text alone, without the line that leads to it."""
    note.update_positions(canvas.get_renderer())  # type: ignore[no-untyped-call]  # of matplotlib's own
    return Text.get_window_extent(note).padded(3)


def _inside(axes: Axes, box: Bbox) -> bool:
    frame = axes.get_window_extent()
    return bool(frame.x0 - 2 <= box.x0 and box.x1 <= frame.x1 + 2 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
