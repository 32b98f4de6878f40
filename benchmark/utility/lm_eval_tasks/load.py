"""The items of the packaged tasks for lm-eval: in memory, away from any cache."""

from __future__ import annotations

import json
from pathlib import Path

from datasets import Dataset

HERE = Path(__file__).parent


def word_order(**given: object) -> dict[str, Dataset]:
    """Items of `general_word_order`; lm-eval passes a task's metadata, of which nothing is needed."""
    return _read("general_word_order.jsonl")


def last_word(**given: object) -> dict[str, Dataset]:
    """Items of `general_last_word`."""
    return _read("general_last_word.jsonl")


def _read(name: str) -> dict[str, Dataset]:
    return {"test": Dataset.from_list([json.loads(line) for line in (HERE / name).read_text("utf-8").splitlines()])}
