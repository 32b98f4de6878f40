"""The checks in the order in which they are tried, and trying them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.check.behaviour import CHANGES_MODEL, NO_GENERAL, TIED_EMBEDDINGS
from benchmark.check.declaration import DOCSTRING, FIELDS, SEARCH
from benchmark.check.low_rank import LOW_RANK
from benchmark.check.outcome import Check, Finding, judge
from benchmark.check.randomness import GLOBAL_GENERATORS, SEED_DECIDES
from benchmark.check.reach import EVALUATION_TEXT, PUBLIC_IMPORTS
from benchmark.check.softmax import SOFTMAX_SHIFT
from benchmark.check.subjects import FAMILIES, TinyModels
from benchmark.check.text import PADDING, ROW_ORDER, USES_FORGET, USES_KEPT
from benchmark.check.traces import FROZEN_STAYS, LEAVES_NO_TRACE, STATE_DICT
from benchmark.check.trial import Trial
from benchmark.check.weights import WEIGHTS_ALONE
from benchmark.registry import MethodEntry

CHECKS: tuple[Check, ...] = (
    DOCSTRING,
    FIELDS,
    SEARCH,
    PUBLIC_IMPORTS,
    CHANGES_MODEL,
    USES_FORGET,
    USES_KEPT,
    SOFTMAX_SHIFT,
    PADDING,
    ROW_ORDER,
    SEED_DECIDES,
    GLOBAL_GENERATORS,
    STATE_DICT,
    WEIGHTS_ALONE,
    LEAVES_NO_TRACE,
    FROZEN_STAYS,
    TIED_EMBEDDINGS,
    LOW_RANK,
    NO_GENERAL,
    EVALUATION_TEXT,
)


def check_method(entry: MethodEntry, models: TinyModels) -> Iterator[tuple[Check, list[Finding]]]:
    """Every check of a method, with what came of it on each family."""
    trials = {family: Trial(entry, family, models) for family in FAMILIES}
    for check in CHECKS:
        yield check, [judge(check, trials[family]) for family in check.families]
