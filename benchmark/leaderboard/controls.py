"""Where the controls landed: methods that never look at the forget set, which the others have to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.leaderboard import formats
from benchmark.leaderboard.overall import OverallRow

if TYPE_CHECKING:
    from benchmark.leaderboard import Board


def control_facts(board: Board) -> tuple[tuple[str, str], ...]:
    """What is said of them above the overall table; nothing where no method is ranked."""
    ranked = [row for row in board.overall if row.rank is not None]
    controls, methods = [row for row in ranked if row.control], [row for row in ranked if not row.control]
    if not ranked:
        return ()
    if not controls:
        return (("Controls", "none was run: what a method scores that never looks at the forget set is not known here."),)
    facts = [("Controls", f"{', '.join(map(_placed, controls))}.")]
    if no_better := unbeaten(board, methods, controls):
        facts.append(("No better than a control", f"{', '.join(no_better)}: not told to be better than every one of them."))
    if warning := _warning(board, methods, controls):
        facts.append(("WARNING", warning))
    return tuple(facts)


def unbeaten(board: Board, methods: Sequence[OverallRow], controls: Sequence[OverallRow]) -> list[str]:
    """The methods that cannot be told to be better than every control, in their order."""
    better = _better(board)
    return [method.label for method in methods if any((method.label, control.label) not in better for control in controls)]


def _warning(board: Board, methods: Sequence[OverallRow], controls: Sequence[OverallRow]) -> str | None:
    """That a control is better than the method in the middle: then scores are not for forgetting what was asked."""
    if not methods:
        return None
    median, better = methods[len(methods) // 2], _better(board)
    above = [control for control in controls if (control.label, median.label) in better]
    if not above:
        return None
    return (
        f"{', '.join(map(_placed, above))}: told to be better than the median method, {_placed(median)}, without a look at the forget set."
        " Do not read these scores as forgetting of what was asked."
    )


def _better(board: Board) -> set[tuple[str, str]]:
    return {comparison.better() for comparison in board.comparisons if comparison.told_apart}


def _placed(row: OverallRow) -> str:
    rank, interval = formats.rank(row.rank), formats.rank_interval(row.rank)
    return f"{row.label} rank {rank}" if interval == rank else f"{row.label} rank {rank} ({interval})"
