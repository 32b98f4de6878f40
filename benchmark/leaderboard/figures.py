"""The leaderboard's figures as SVG and PNG: the same bytes for the same records and version of matplotlib."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmark.leaderboard import Board
from benchmark.leaderboard.curves import task_figure
from benchmark.leaderboard.overview import overview_figure
from benchmark.leaderboard.strokes import strokes


def draw(board: Board) -> dict[str, bytes]:
    """Every figure as the content of a file, by its name: `overview.svg`, `<task>.svg`, and the same as PNG."""
    files: dict[str, bytes] = {}
    look = strokes(row.label for row in board.overall if not row.is_reference)
    with mpl.rc_context():
        _set_look()
        if any(row.rank for row in board.overall):
            files |= _files("overview", overview_figure(board, look))
        for table in board.tasks:
            if table.figure:
                files |= _files(table.figure, task_figure(board, table, look))
    return files


def _set_look() -> None:
    """The same whatever the user's own settings are."""
    mpl.rcdefaults()
    mpl.rc("svg", hashsalt="unlearning-bench", fonttype="path")
    mpl.rc("font", family="DejaVu Sans", size=9)
    mpl.rc("axes", titlesize=10, titlelocation="left", edgecolor="#555555")
    mpl.rc("axes.spines", top=False, right=False)


def _files(name: str, figure: Figure) -> dict[str, bytes]:
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    return {f"{name}.svg": svg.getvalue(), f"{name}.png": png.getvalue()}
