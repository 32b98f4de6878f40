"""Operating points that do more harm on test than on validation, where they were chosen to be within their budget.

Near the budget that is a coin's flip, and is marked. A point with more than twice the budget is none of that budget's: it counts as
what always is within it, the untouched model with its score of 0, or as its own score where that is lower still.
"""

from __future__ import annotations

import dataclasses

from benchmark.scores import SeedCell

INADMISSIBLE = 2.0
"""Budgets of test damage above which a point does not count."""

ABOVE = "†"
FAR_ABOVE = "‡"


def mark(damage: float, budget: float) -> str:
    """What stands beside a score with this test damage."""
    return FAR_ABOVE if inadmissible(damage, budget) else ABOVE if damage > budget else ""


def inadmissible(damage: float, budget: float) -> bool:
    """Whether a point with this test damage does not count."""
    return damage > INADMISSIBLE * budget


def counted(cell: SeedCell, damage: float, budget: float) -> SeedCell:
    """The run as it counts: the untouched model's documents in place of its own where it is inadmissible and that costs it something."""
    if inadmissible(damage, budget) and cell.score > 0:
        return dataclasses.replace(cell, unlearned=cell.target)
    return cell
