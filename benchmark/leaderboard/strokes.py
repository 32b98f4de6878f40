"""How each method is drawn: told apart by marker and line style, in black and white too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#8C6D1F", "#3A3A3A", "#56A0D3")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
LINES = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))


class Stroke(NamedTuple):
    """Colour, marker and line of one method; no two of the first few hundred are alike."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


def strokes(labels: Iterable[str]) -> dict[str, Stroke]:
    """One each, in the order given."""
    return {
        label: Stroke(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], LINES[index % len(LINES)])
        for index, label in enumerate(labels)
    }
