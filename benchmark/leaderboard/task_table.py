"""One task's table: its rows in order, and what they are judged against."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark import scores
from benchmark.comparison import Rank, score_floor
from benchmark.errors import InputError
from benchmark.leaderboard.baselines import baselines, why_unscored
from benchmark.leaderboard.ranking import Contender, ranking
from benchmark.leaderboard.rows import ORIGINAL, REFERENCES, RETRAINED, Row
from benchmark.panel.membership import membership_auc
from benchmark.record import Record, Setting, TextOrigin
from benchmark.scores import Interval

TOLERANCE = 1e-6
"""How far the rows that bracket a table may be from 0 and 1."""


@dataclass(frozen=True)
class Ranked:
    """A row in its place; references and rows without a score have no rank."""

    rank: Rank | None
    row: Row


@dataclass(frozen=True)
class SetSize:
    """How much text an evaluation set has on the test half."""

    documents: int
    tokens: int


@dataclass(frozen=True)
class TaskTable:
    """One task: its rows in order, and what they are judged against."""

    task: str
    domain: str
    removes: Literal["documents", "domain"]
    data_fingerprint: str
    setting: Setting
    text: TextOrigin | None
    """None where no record tells."""
    reference_kind: Literal["exact", "approximate", "none"] | None
    """None where nothing could be measured."""
    unscored: str | None
    """Why there are no forget scores; None if there are."""
    gaps: Mapping[int, Interval]
    """Reference minus target NLL on forget, test half, nats a token, by target seed; none without a reference."""
    noise_floor: float | None
    """How far the forget NLL of two honest trainings is apart, nats a token; None where it was not measured."""
    score_floor: float
    """The same as a difference of forget scores, up to which there is none; 0 where it was not measured."""
    membership: Interval | None
    """AUC of a loss attack that tells forget from holdout documents, test half; only where the holdout set stands in for a reference."""
    sizes: Mapping[str, SetSize]
    rows: tuple[Ranked, ...]
    """References, ranked rows, then the rest."""

    @property
    def figure(self) -> str | None:
        """Name of its figure's file, without the ending; None where no method has a curve."""
        return re.sub(r"[^\w-]", "_", self.task) if any(ranked.row.has_curve for ranked in self.rows) else None


def task_table(task: str, records: Sequence[Record], summed: Iterable[Row]) -> TaskTable:
    """The table of one task.

    Args:
        task: its name.
        records: of every task.
        summed: `rows` of these.

    Raises:
        InputError: a reference row is not where it must be.
    """
    first = next(record for record in records if record.spec.task == task)
    of_task = [row for row in summed if row.task == task]
    by_seed = baselines(records).get(task, {})
    unscored = why_unscored(by_seed) if by_seed else "nothing could be measured"
    kind, floor, membership, sizes = None, None, None, {}
    if by_seed:
        baseline = next(iter(by_seed.values()))  # of the first target seed: the others are judged by the same rules on the same text
        kind, floor = baseline.reference_kind, baseline.noise_floor
        if kind == "approximate":
            membership = membership_auc(*(baseline.target_test[name].nll_each for name in ("forget", "holdout")))
        sizes = {name: SetSize(len(text.ids), sum(text.tokens)) for name, text in sorted(baseline.target_test.items())}
    gaps = {
        seed: scores.gap_interval(baseline.target_test["forget"], baseline.reference_test["forget"])
        for seed, baseline in by_seed.items()
        if "forget" in baseline.reference_test
    }
    _check_brackets(of_task, exact=kind == "exact")
    floor_of_scores = score_floor(by_seed.values()) if unscored is None else 0.0
    return TaskTable(
        task=task,
        domain=first.domain,
        removes=first.removes,
        data_fingerprint=first.spec.data_fingerprint,
        setting=first.spec.setting,
        text=next((record.text for record in records if record.spec.task == task and record.text), None),
        reference_kind=kind,
        unscored=unscored,
        gaps=gaps,
        noise_floor=floor,
        score_floor=floor_of_scores,
        membership=membership,
        sizes=sizes,
        rows=_order(of_task, floor_of_scores),
    )


def _check_brackets(of_task: Iterable[Row], exact: bool) -> None:
    due = {ORIGINAL: 0.0} | ({RETRAINED: 1.0} if exact else {})
    for row in of_task:
        for point in row.points:
            if row.method in due and point.score is not None and abs(point.score.value - due[row.method]) > TOLERANCE:
                raise InputError(
                    f"{row.method} has a forget score of {point.score.value:.6f} on {row.task} where it must have {due[row.method]:.0f}:"
                    f" nothing is published; delete the records of {row.task} ({row.method}'s: {', '.join(row.keys)}) and run it again"
                )


def _order(of_task: Sequence[Row], floor: float) -> tuple[Ranked, ...]:
    brackets = sorted((row for row in of_task if row.is_reference), key=lambda row: REFERENCES.index(row.method))
    methods = {row.label: row for row in of_task if not row.is_reference}
    placed = ranking(
        (
            Contender(row.label, row.score.value, row.expense.flops, [row.cells])
            for row in methods.values()
            if row.score is not None and row.expense is not None
        ),
        floor,
    )
    rest = [row for row in methods.values() if row.label not in placed.ranks]
    rest.sort(key=lambda row: (row.status != "ok", -(row.max_difference or 0.0), row.label))
    return (
        *(Ranked(None, row) for row in brackets),
        *(Ranked(placed.ranks[label], methods[label]) for label in placed.labels),
        *(Ranked(None, row) for row in rest),
    )
