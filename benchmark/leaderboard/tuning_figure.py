"""The figure on tuning: the expected best of k trials, method by method."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.leaderboard import formats
from benchmark.leaderboard.curves import Entry, draw_line, legend
from benchmark.leaderboard.strokes import Stroke
from benchmark.leaderboard.tuning import Sweep


def tuning_figure(sweep: Sweep, strokes: Mapping[str, Stroke]) -> Figure:
    """Curves on the left; on the right the best of all trials, and a line to it from the mean trial."""
    shown = [tuning for tuning in sweep.tunings if tuning.best_of]
    figure = Figure(figsize=(11, max(4.4, 1.6 + 0.27 * len(shown))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for tuning in reversed(shown):
        draw_line(left, [(float(k), score) for k, score in enumerate(tuning.best_of, 1)], strokes[tuning.method])
    left.axhline(0, color="black", linewidth=0.8, zorder=0)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.grid(axis="y", color="#dddddd", linewidth=0.6)
    left.set_xlabel("trials")
    left.set_ylabel(f"expected forget score at {formats.budget(sweep.budget)}, on test")
    left.set_title("Best of k trials, chosen on validation")
    legend(right, [Entry(tuning.method, tuning.method, tuning.best_of[-1]) for tuning in shown], strokes)
    for index, tuning in enumerate(shown):
        ends = (tuning.best_of[0], tuning.best_of[-1])
        right.plot(ends, (index, index), color=strokes[tuning.method].colour, linewidth=1.6, zorder=1)
    right.axvline(0, color="black", linewidth=0.8, zorder=0)
    right.set_xlabel("forget score (line: from the mean trial to the best)")
    right.set_title(f"Best of all, on {', '.join(sweep.tasks)}")
    figure.suptitle("How much tuning matters", x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure
