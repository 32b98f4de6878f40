"""One noise floor for the records of a task: by hand."""

from __future__ import annotations

import pytest
from records import documents, environment, original, record, retrained, spec

from benchmark.leaderboard import board
from benchmark.leaderboard.comparable import comparable
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.markdown import markdown
from benchmark.record import Record


def judged(target: float, reference: float, floor: float | None = 0.05, *, method: str = "ascent", seed: int = 0, **options: str) -> Record:
    """Of a target seed whose models have these forget losses on the test half; on the other half 2 and 3."""
    made = record(spec(method, target_seed=seed), made=environment(**options))
    assert made.baseline is not None
    halves = {
        "target_test": made.baseline.target_test | {"forget": documents("forget", target)},
        "reference_test": made.baseline.reference_test | {"forget": documents("forget", reference)},
    }
    return made.model_copy(update={"baseline": made.baseline.model_copy(update=halves | {"noise_floor": floor})})


def floors(*records: Record) -> set[float | None]:
    kept, _ = comparable(records)
    return {each.baseline.noise_floor for each in kept if each.baseline is not None}


def test_of_several_target_seeds_it_is_worked_out_from_the_records() -> None:
    """Targets are 0.01, 0.04 and 0.03 apart, references 0.1, 0.3 and 0.2: on average 0.2."""
    trained = ((2.0, 3.0), (2.01, 3.1), (2.04, 3.3))
    (found,) = floors(*(judged(*losses, seed=seed, floor=0.05 if seed else None) for seed, losses in enumerate(trained)))
    assert found == pytest.approx(0.2)
    (found,) = floors(*(judged(reference - 1, target + 1, seed=seed) for seed, (target, reference) in enumerate(trained)))
    assert found == pytest.approx(0.2), "the larger of the two"


def test_more_trainings_of_the_same_kind_do_not_make_it_larger() -> None:
    two = floors(*(judged(2.0, 3.0 + 0.1 * (seed % 2), seed=seed) for seed in range(2)))
    four = floors(*(judged(2.0, 3.0 + 0.1 * (seed % 2), seed=seed) for seed in range(4)))
    assert max(filter(None, four)) < max(filter(None, two)) == pytest.approx(0.1)


def test_of_one_target_seed_it_is_the_newest_recorded_one() -> None:
    older, newer = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
    assert floors(judged(2.0, 3.0, 0.07, time=older), judged(2.0, 3.0, 0.06, method="other", time=newer)) == {0.06}
    assert floors(judged(2.0, 3.0, 0.07, time=newer), judged(2.0, 3.0, 0.06, method="other", time=older)) == {0.07}
    assert floors(judged(2.0, 3.0, 0.07, time=older), judged(2.0, 3.0, None, method="other", time=newer)) == {0.07}
    assert floors(judged(2.0, 3.0, None)) == {None}


def test_where_the_reference_is_not_exact_there_is_none() -> None:
    assert floors(*(record(spec(target_seed=seed), kind="approximate") for seed in range(2))) == {None}


def test_the_board_says_which_it_is() -> None:
    one = board([original(), retrained(), record(spec())])
    text = markdown("lab", sections(one))
    assert "two honest trainings are 0.050 apart (as measured when the lab was made)" in text
    assert "Chance in training is not included on arxiv, in intervals or ranks: there is one target seed" in text
    two = board([judged(2.0, 3.0), judged(2.0, 3.1, seed=1)])
    assert two.tasks[0].noise_floor == pytest.approx(0.1)
    text = markdown("lab", sections(two))
    assert "two honest trainings are 0.100 apart (on average over pairs of the 2 target seeds, on the test half)" in text
    assert "Chance in training" not in text
