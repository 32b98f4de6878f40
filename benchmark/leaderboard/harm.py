"""Who pays for the forgetting: damage by the domain of what is kept, and by its similarity to what is forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.leaderboard.panel import TaskPanel

DOMAIN = "damage_by_domain"
SIMILARITY = "damage_by_similarity"
BINS = ("far", "middle", "near")
RISE = "perplexity_rise"


@dataclass(frozen=True)
class Harm:
    """One method's damage in parts: perplexity rise over the worse of target and reference, 0.05 for 5 %."""

    label: str
    by_domain: Mapping[str, Mapping[str, float]]
    """By task and kept domain: forget this, harm that."""
    by_similarity: Mapping[str, Mapping[str, float]]
    """By task and third of the kept documents: far, middle, near."""

    def mean_by_similarity(self, tasks: Sequence[str]) -> dict[str, float] | None:
        """Over tasks; None if any is missing."""
        found = [self.by_similarity[task] for task in tasks if task in self.by_similarity]
        if not found or len(found) < len(tasks):
            return None
        return {name: sum(of[name] for of in found) / len(found) for name in BINS}


def harms(panels: Sequence[TaskPanel], labels: Sequence[str]) -> tuple[Harm, ...]:
    """One a method that has such a metric on any task, in the order given."""
    found = [Harm(label, _parts(panels, label, DOMAIN), _parts(panels, label, SIMILARITY)) for label in labels]
    return tuple(harm for harm in found if harm.by_domain or harm.by_similarity)


def _parts(panels: Sequence[TaskPanel], label: str, metric: str) -> dict[str, dict[str, float]]:
    found = {}
    for panel in panels:
        row = panel.rows.get(label)
        reading = None if row is None or row.incomplete else row.panel.get(metric)
        if reading is not None:
            found[panel.task] = {name: of[RISE] for name, of in reading.value_by_index.items()}
    return found
