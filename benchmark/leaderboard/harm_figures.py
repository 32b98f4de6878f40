"""Figures of who pays for the forgetting: heat maps of forget against harm, and damage by similarity to the forget set."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmark.leaderboard import Board, formats
from benchmark.leaderboard.harm import BINS, Harm
from benchmark.leaderboard.harm_section import best, by_similarity
from benchmark.leaderboard.strokes import Stroke

ACROSS = 3
"""Heat maps in a row."""

COLOURS = "RdBu_r"
TINTS = {"far": "#9ecae1", "middle": "#4292c6", "near": "#08306b"}
MARKS = {"far": "o", "middle": "s", "near": "D"}


def domain_figure(board: Board) -> Figure:
    """A heat map a method: the task's text forgotten down, the kept domain harmed across; white is no damage, red is damage."""
    shown = best(board)
    tasks = [table.task for table in board.tasks if any(table.task in harm.by_domain for harm in shown)]
    domains = sorted({domain for harm in shown for of in harm.by_domain.values() for domain in of})
    down = math.ceil(len(shown) / ACROSS)
    across = min(ACROSS, len(shown))
    size = (1.9 + across * (0.8 + 0.62 * len(domains)), 0.9 + down * (0.9 + 0.34 * len(tasks)))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    largest = max(board.protocol.budgets)
    norm = SymLogNorm(linthresh=board.budget, vmin=-largest, vmax=largest)
    for axes, harm in zip(grid.flat, shown, strict=False):
        _heat_map(axes, harm, tasks, domains, norm)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    figure.suptitle(
        f"Perplexity rise at {formats.budget(board.budget)} damage, on test: forget the row, harm the column",
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
    return figure


def _heat_map(axes: Axes, harm: Harm, tasks: list[str], domains: list[str], norm: SymLogNorm) -> None:
    cells = np.array([[harm.by_domain.get(task, {}).get(domain, math.nan) for domain in domains] for task in tasks])
    axes.imshow(np.ma.masked_invalid(cells), cmap=COLOURS, norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        deep = abs(norm(value) - 0.5) > 0.35
        told = formats.DASH if math.isnan(value) else f"{round(100 * value, 1) + 0.0:.1f}"
        axes.annotate(told, (column, row), ha="center", va="center", fontsize=8, color="white" if deep else "black")
    axes.set_xticks(range(len(domains)), domains, rotation=30, ha="right")
    axes.set_yticks(range(len(tasks)), tasks)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{harm.label}, %")


def similarity_figure(board: Board, strokes: Mapping[str, Stroke]) -> Figure:
    """A line a method, its marks at the mean damage of the kept documents far from, midway to and near the forget set."""
    means = by_similarity(board)
    figure = Figure(figsize=(9, max(2.6, 1.3 + 0.27 * len(means))), layout="constrained")
    axes = figure.subplots()
    for index, (label, mean) in enumerate(means.items()):
        across = [mean[name] for name in BINS]
        axes.plot((min(across), max(across)), (index, index), color=strokes[label].colour, linewidth=1.4, zorder=1)
        for name in BINS:
            axes.plot(
                mean[name],
                index,
                MARKS[name],
                color=TINTS[name],
                markeredgecolor="black",
                markersize=7,
                zorder=2,
                label=name if index == 0 else None,
            )
    axes.axvline(0, color="black", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(means)), list(means))
    axes.set_ylim(len(means) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.budget(round(value, 6))))
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(title="like the forget set", frameon=False, loc="lower right")
    axes.set_xlabel("perplexity rise over the worse of target and reference")
    axes.set_title(f"Kept documents by similarity to the forget set, at {formats.budget(board.budget)} damage, on test: means over tasks")
    return figure
