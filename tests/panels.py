"""Synthetic panels: what a metric gave for target, reference and unlearned model."""

from __future__ import annotations

from benchmark.record import MetricValue, Panel, Record

DOCUMENTS = 12
SPREAD = [0.01 * (index % 3 - 1) for index in range(DOCUMENTS)]
"""Of documents about their mean; it sums to zero."""


def scored(mean: float) -> MetricValue:
    """The mean of documents' scores."""
    each = {f"forget-{index}": {"score": mean + offset} for index, offset in enumerate(SPREAD)}
    return MetricValue(
        agg_value=sum(of["score"] for of in each.values()) / DOCUMENTS, value_by_index=each, interval=(mean - 0.005, mean + 0.005)
    )


def attack(wins: int, of: int = 6) -> MetricValue:
    """An attack that puts `wins` of the members below all others, and the rest above them."""
    members = {f"forget-{index}": {"score": -1.0 if index < wins else 1.0, "member": 1.0} for index in range(of)}
    others = {f"holdout-{index}": {"score": 0.0, "member": 0.0} for index in range(of)}
    return MetricValue(
        agg_value=wins / of, value_by_index=members | others, interval=(max(0.0, wins / of - 0.3), min(1.0, wins / of + 0.3))
    )


def layers(top1: float) -> MetricValue:
    """What can be read off inside, of two layers."""
    each = {"layer 0": {"top1": top1 / 2}, "layer 1": {"top1": top1}}
    return MetricValue(agg_value=top1, value_by_index=each, interval=(top1 - 0.01, top1 + 0.01))


def relearned(*losses: float, half: float = 2.5) -> MetricValue:
    """Forget loss after 0, 2, 4, 8, ... steps; back where it is at `half`, between two steps on a straight line."""
    steps = [0, *(2**index for index in range(1, len(losses)))]
    back = float(steps[-1])
    for index in range(1, len(losses)):
        if losses[index] <= half < losses[index - 1]:
            share = (losses[index - 1] - half) / (losses[index - 1] - losses[index])
            back = steps[index - 1] + share * (steps[index] - steps[index - 1])
            break
    if losses[0] <= half:
        return MetricValue(agg_value=0.0, value_by_index={"step 0": {"nll": losses[0]}, "half": {"nll": half, "recovered": 1.0}})
    curve = {f"step {step}": {"nll": loss} for step, loss in zip(steps, losses, strict=True)}
    return MetricValue(
        agg_value=back,
        value_by_index=curve | {"half": {"nll": half, "recovered": float(min(losses) <= half)}},
        interval=(0.9 * back, 1.1 * back),
    )


def harm(near: float = 0.05, **domains: float) -> Panel:
    """Damage in parts."""
    thirds = {"far": near / 4, "middle": near / 2, "near": near}
    similar = {name: {"perplexity_rise": rise, "documents": 4.0, "similarity": 0.1} for name, rise in thirds.items()}
    by_domain = {name: {"perplexity_rise": rise, "documents": 4.0} for name, rise in domains.items()}
    return {
        "damage_by_similarity": MetricValue(agg_value=near, value_by_index=similar, interval=(near - 0.01, near + 0.01)),
        "damage_by_domain": MetricValue(agg_value=max(domains.values()), value_by_index=by_domain, interval=(0.0, 1.0)),
    }


def with_panels(record: Record, target: Panel, reference: Panel, unlearned: Panel, text: Panel | None = None) -> Record:
    """A record as it would be with these panels, the unlearned model's at the headline point."""
    assert record.baseline is not None
    middle = len(record.operating_points) // 2
    points = tuple(
        point.model_copy(update={"panel": unlearned}) if index == middle else point for index, point in enumerate(record.operating_points)
    )
    baseline = record.baseline.model_copy(update={"target_panel": target, "reference_panel": reference, "text_panel": text or {}})
    versions = dict.fromkeys(sorted({*target, *reference, *unlearned, *(text or {})}), 1)
    return record.model_copy(update={"baseline": baseline, "operating_points": points, "panel": versions})
