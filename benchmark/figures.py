"""The leaderboard's figures."""

from __future__ import annotations

from benchmark.leaderboard import Board


def draw(board: Board) -> dict[str, bytes]:
    """Every figure as a file's content, by the file's name."""
    return {}
