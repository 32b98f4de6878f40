"""Operating points that do not count for what they score: far above their budget on test, or caught with the text still inside.

A point is chosen on validation to be within its budget. Near the budget the test half is a coin's flip, and is marked. A point with
more than twice the budget is none of that budget's, and one that only hides the text has not forgotten it: either counts as what
always is within the budget, the untouched model with its score of 0, or as its own score where that is lower still.
"""

from __future__ import annotations

import dataclasses

from benchmark.scores import SeedCell

INADMISSIBLE = 2.0
"""Budgets of test damage above which a point does not count."""

ABOVE = "†"
FAR_ABOVE = "‡"
HIDING = "§"


def mark(damage: float, budget: float, hiding: bool = False) -> str:
    """What stands beside a score with this test damage, of a model that hides the text or does not."""
    if hiding:
        return HIDING
    return FAR_ABOVE if inadmissible(damage, budget) else ABOVE if damage > budget else ""


def inadmissible(damage: float, budget: float) -> bool:
    """Whether a point with this test damage does not count."""
    return damage > INADMISSIBLE * budget


def counted(cell: SeedCell, damage: float, budget: float, hiding: bool = False) -> SeedCell:
    """The run as it counts: the untouched model's documents in place of its own where it does not count and that costs it something."""
    if (hiding or inadmissible(damage, budget)) and cell.score > 0:
        return dataclasses.replace(cell, unlearned=cell.target)
    return cell
