"""The hub models that have a short name: the data is in `catalogue.toml`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Known:
    """A model of the hub, and what to know before it is fetched."""

    repository: str
    """ORG/NAME."""
    revision: str | None
    """The commit that its short name stands for; None: whatever `main` now is."""
    parameters: int
    """In millions."""
    context: int
    """Longest window in tokens that it was made for."""
    licence: str
    gated: bool
    """Whether its terms have to be accepted on the hub first."""

    @property
    def alias(self) -> str:
        """Its short name."""
        return self.repository.partition("/")[2].lower()


@functools.cache
def catalogue() -> Mapping[str, Known]:
    """Every known model by its short name, in the order of the file."""
    data = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text("utf-8"))
    known = [
        Known(
            repository=f"{family['organisation']}/{model['name']}",
            revision=model.get("revision"),
            parameters=model["parameters"],
            context=model.get("context", family["context"]),
            licence=model.get("licence", family["licence"]),
            gated=family.get("gated", False),
        )
        for family in data["family"]
        for model in family["models"]
    ]
    return {model.alias: model for model in known}
