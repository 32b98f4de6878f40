"""What the cells of a task are judged against, target seed by target seed, and whether that is enough to score them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from benchmark import scores
from benchmark.record import Baseline, Record


def baselines(records: Iterable[Record]) -> dict[str, dict[int, Baseline]]:
    """The baselines by task and target seed, in their order; a task or target seed of which nothing was measured is left out."""
    found: defaultdict[str, dict[int, Baseline]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: (record.spec.target_seed, record.spec.key())):
        if record.baseline is not None:
            found[record.spec.task].setdefault(record.spec.target_seed, record.baseline)
    return dict(found)


def why_unscored(by_seed: Mapping[int, Baseline]) -> str | None:
    """Why a task has no forget scores, given its baselines by target seed; None if it has, which takes a gap for each of them."""
    told = {seed: reason for seed, baseline in by_seed.items() if (reason := _why_unscored(baseline)) is not None}
    if len(told) == len(by_seed) and len(set(told.values())) == 1:
        return next(iter(told.values()))
    return "; ".join(f"target seed {seed}: {reason}" for seed, reason in told.items()) or None


def _why_unscored(baseline: Baseline) -> str | None:
    if scores.has_gap(baseline):
        return None
    if baseline.reference_kind == "none":
        return "there is no reference model, and nothing that stands in for one"
    halves = (
        ("validation", baseline.target_validation["forget"], baseline.reference_validation["forget"]),
        ("test", baseline.target_test["forget"], baseline.reference_test["forget"]),
    )
    gaps = [(half, scores.gap_interval(target, reference)) for half, target, reference in halves]
    told = ", ".join(f"{gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}] on {half}" for half, gap in gaps)
    if any(gap.high < 0 for _, gap in gaps):
        return f"the target finds the forget set harder than the reference does (gap {told}, nats a token): there is nothing to forget"
    floor = "" if baseline.noise_floor is None else f" or lies within the noise floor of {baseline.noise_floor:.3f}"
    return f"the gap between target and reference on the forget set ({told}, nats a token) cannot be told from zero{floor}"
