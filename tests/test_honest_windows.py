"""Rules by window let honest retrainings pass: on the published records, the reference of one target seed against another's."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import pytest

from benchmark import registry, store
from benchmark.leaderboard.flags import COPY, UNEVEN, WINDOWS
from benchmark.leaderboard.windows import apart
from benchmark.record import Panel

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "lab"

References = dict[str, dict[int, tuple[Panel, Panel]]]


@pytest.fixture(scope="module")
def references() -> References:
    """By task and target seed: the panels of target and reference."""
    found: References = defaultdict(dict)
    for record in store.read_all(RECORDS, "retrained"):
        assert record.baseline is not None
        found[record.spec.task][record.spec.target_seed] = record.baseline.target_panel, record.baseline.reference_panel
    return found


def test_every_target_seed_is_measured_by_window(references: References) -> None:
    assert references.keys() == registry.tasks().keys()
    panels = {(task, seed): both for task, seeds in references.items() for seed, both in seeds.items()}
    lacking = [which for which, both in panels.items() if not all(WINDOWS in panel for panel in both)]
    assert lacking == []


def test_one_honest_retraining_against_another_is_neither_patchy_nor_a_copy(references: References) -> None:
    pairs = [(task, *pair) for task, seeds in references.items() for pair in itertools.permutations(seeds, 2)]
    assert {task for task, *_ in pairs} == registry.tasks().keys()
    for task, seed, other in pairs:
        target, reference = references[task][seed]
        found = apart(references[task][other][1][WINDOWS], target[WINDOWS], reference[WINDOWS])
        assert found is not None, f"{task}: not of the same windows"
        assert found.uneven <= UNEVEN, f"{task}: {other} against {seed} is patchy"
        assert found.known + found.overshot >= COPY, f"{task}: {other} against {seed} is a copy"
