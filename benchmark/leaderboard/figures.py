"""The leaderboard's figures as SVG and PNG: the same bytes for the same records and version of matplotlib."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmark.leaderboard import Board
from benchmark.leaderboard.curves import task_figure
from benchmark.leaderboard.harm_figures import domain_figure, similarity_figure
from benchmark.leaderboard.harm_section import BY_DOMAIN, BY_SIMILARITY, best, by_similarity
from benchmark.leaderboard.overview import overview_figure
from benchmark.leaderboard.strokes import strokes
from benchmark.leaderboard.tuning_figure import tuning_figure
from benchmark.leaderboard.tuning_section import FIGURE, drawable


def draw(board: Board) -> dict[str, bytes]:
    """Every figure as the content of a file, by its name: `overview.svg`, `<task>.svg`, `tuning.svg`, and the same as PNG."""
    files: dict[str, bytes] = {}
    drawn_as = strokes(row.label for row in board.overall if not row.is_reference)
    with look():
        if any(row.rank for row in board.overall):
            files |= as_files("overview", overview_figure(board, drawn_as))
        for table in board.tasks:
            if table.figure:
                files |= as_files(table.figure, task_figure(board, table, drawn_as))
        if best(board):
            files |= as_files(BY_DOMAIN, domain_figure(board))
        if by_similarity(board):
            files |= as_files(BY_SIMILARITY, similarity_figure(board, drawn_as))
        if board.sweep is not None and drawable(board.sweep):
            files |= as_files(FIGURE, tuning_figure(board.sweep, strokes(tuning.method for tuning in board.sweep.tunings)))
    return files


@contextmanager
def look() -> Iterator[None]:
    """Matplotlib set the same whatever the user's own settings are, and as it was afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rc("svg", hashsalt="unlearning-bench", fonttype="path")
        mpl.rc("font", family="DejaVu Sans", size=9)
        mpl.rc("axes", titlesize=10, titlelocation="left", edgecolor="#555555")
        mpl.rc("axes.spines", top=False, right=False)
        yield


def as_files(name: str, figure: Figure) -> dict[str, bytes]:
    """A figure as the content of `<name>.svg` and `<name>.png`."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    return {f"{name}.svg": svg.getvalue(), f"{name}.png": png.getvalue()}
