"""One noise floor for all records of a task, whichever labs they were made with.

A lab's manifest has the floor of its own trainings, over all forget documents. Records may have been made with labs of different
numbers of seeds, and cover more of them than any lab's: then the records know best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.leaderboard.baselines import baselines
from benchmark.record import Baseline, Record
from benchmark.scores import mean_distance


def with_one_floor(records: Sequence[Record]) -> list[Record]:
    """The records, those with an exact reference with the floor of their task: worked out from them, or the newest recorded one."""
    recorded: dict[str, float] = {}
    for record in sorted(records, key=lambda record: (record.environment.time, record.spec.key())):
        if record.baseline is not None and record.baseline.noise_floor is not None:
            recorded[record.spec.task] = record.baseline.noise_floor
    measured = {task: noise_floor(by_seed) for task, by_seed in baselines(records).items()}
    return [_with(record, measured.get(record.spec.task), recorded.get(record.spec.task)) for record in records]


def noise_floor(by_seed: Mapping[int, Baseline]) -> float | None:
    """How far two trainings are apart in forget NLL on the test half, nats a token: the mean over pairs of target seeds.

    Of the references and of the targets, the larger. None where there are not two target seeds with an exact reference.
    """
    exact = [baseline for baseline in by_seed.values() if baseline.reference_kind == "exact"]
    if len(exact) < 2:
        return None
    return max(
        mean_distance([baseline.reference_test["forget"].mean_nll for baseline in exact]),
        mean_distance([baseline.target_test["forget"].mean_nll for baseline in exact]),
    )


def _with(record: Record, measured: float | None, recorded: float | None) -> Record:
    if record.baseline is None or record.baseline.reference_kind != "exact":
        return record
    floor = recorded if measured is None else measured
    return record.model_copy(update={"baseline": record.baseline.model_copy(update={"noise_floor": floor})})
