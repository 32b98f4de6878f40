"""From the records of a removal request to the recommended model on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark import scores
from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.leaderboard.advice import advice
from benchmark.leaderboard.recommendation import Recommendation
from benchmark.record import OperatingPoint, Record
from benchmark.removal import read_removal
from benchmark.removal.model_card import Made, model_card
from benchmark.removal.remake import remake
from benchmark.removal.saved_model import save_model
from benchmark.source import resolve_model


def hand_over(recommendation: Recommendation, records: Sequence[Record], cell: Cell, folder: Path, progress: Callable[[int], None]) -> None:
    """Make the recommended model again and save it: of the first seed, at the headline operating point.

    Args:
        recommendation: of the records, with a method chosen.
        records: of the request.
        cell: any cell of the request: it says where model and text are.
        folder: to be made.
        progress: is given each step's number.

    Raises:
        InputError: the model cannot be made again, or not be saved; the records are kept.
    """
    chosen = recommendation.chosen
    assert chosen is not None  # asked of the caller
    record = next(record for record in records if record.spec.key() == chosen.row.keys[0])
    point = next(point for point in record.operating_points if point.budget == record.spec.protocol.headline)
    lm, made = remake(dataclasses.replace(cell, spec=record.spec), record, point.step, progress)
    scored = recommendation.unscored is None
    half_width = (chosen.merit.high - chosen.merit.low) / 2
    _check_same(_merit(record, point, scored), _merit(made, made.operating_points[0], scored), half_width, chosen.row.label)
    source = resolve_model(cell.model, cell.loading)
    card = model_card(Made(source.repository or source.name, source.folder, made, point.step, advice(recommendation)))
    assert cell.removal is not None  # of a request
    forget = lm.passages(read_removal(cell.removal).splits.forget)
    save_model(lm, card, folder, forget, cell.loading)


def _check_same(recorded: float, again: float, tolerance: float, method: str) -> None:
    """See that a model made again is the one on record, as far as the uncertainty of that lets one tell."""
    if abs(again - recorded) > tolerance:
        raise InputError(
            f"{method} was run again to save its model and came to {again:.2f}, not to the {recorded:.2f} on record; nothing is saved,"
            " the records are kept"
        )


def _merit(record: Record, point: OperatingPoint, scored: bool) -> float:
    baseline = record.baseline
    assert baseline is not None  # the cell is ok
    if not scored:
        return scores.selective_drop(point.test, baseline.target_test).value
    target, reference = baseline.target_test["forget"], baseline.reference_test["forget"]
    return scores.forget_score(point.test["forget"].mean_nll, target.mean_nll, reference.mean_nll)
