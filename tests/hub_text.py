"""The hub's data sets that the named texts are read from, in small: the published configurations, splits and columns."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from hub_cache import HubCache

PRIMARY = "pratyushmaini/llm_dataset_inference"
PINNED = "27bdb27a53e1cf219ecc5759cf8b3b4f0de8dab3"
YAO = "llmunlearn/unlearn_dataset"
PILE_10K = "NeelNanda/pile-10k"

PERTURBATIONS = (
    "synonym_substitution",
    "butter_fingers",
    "random_deletion",
    "change_char_case",
    "whitespace_perturbation",
    "underscore_trick",
)

Rows = Sequence[Mapping[str, Any]]


def words(seed: str, count: int = 60) -> str:
    """A text of its own: `count` words that hardly any other seed gives in this order."""
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghij", k=rng.randint(2, 6))) for _ in range(count))


def inference_rows(config: str, split: str, count: int) -> list[dict[str, str]]:
    """Rows as `pratyushmaini/llm_dataset_inference` has them."""
    texts = [words(f"{config} {split} {number}") for number in range(count)]
    return [{"text": text, **dict.fromkeys(PERTURBATIONS, text.upper())} for text in texts]


def lay_out_primary(
    hub: HubCache, members: int = 30, others: int = 8, changed: Mapping[str, Mapping[str, Rows]] | None = None, without: Sequence[str] = ()
) -> None:
    """The primary source of every domain of `hub`, at its pinned revision; `changed` replaces configurations."""
    configs = [config for config in ("arxiv", "gutenberg", "github", "cc", "wikipedia") if config not in without]
    tables: dict[str, Mapping[str, Rows]] = {
        config: {"train": inference_rows(config, "train", members), "val": inference_rows(config, "val", others)} for config in configs
    }
    hub.dataset(PRIMARY, tables | dict(changed or {}), commit=PINNED, ref=None)


def lay_out_yao(hub: HubCache) -> None:
    """The fallback for arXiv and GitHub: roles as Yao et al. 2024 gave them, one column under another name."""
    sizes = {"forget": 6, "approximate": 8, "retain": 20}
    hub.dataset(
        YAO,
        {
            config: {split: [{field: words(f"yao {config} {split} {number}")} for number in range(count)] for split, count in sizes.items()}
            for config, field in (("arxiv", "text"), ("github", "content"))
        },
        commit="1" * 40,
    )
