"""Where hub text comes from: data, one file a named text, checked as it is read."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmark.corpus import ROLES

HUB = "hub"
"""The text that hub models are tried on unless another is asked for."""

FOLDER = Path(__file__).parent

Membership = Literal["known member", "known non-member", "presumed", "unknown"]
"""Whether a text was in the model's training data; `presumed` means: as its role has it, though no source states it."""
Choice = Literal["primary", "fallback"]
CHOICES: tuple[Choice, ...] = ("primary", "fallback")
Role = Literal["forget", "retain", "retain_eval", "holdout"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pool(_Strict):
    """One split of a data set, and the roles that its rows may be given."""

    split: str
    config: str | None = None
    """Named in the data set's card, which says where its files are."""
    files: str | None = None
    """Pattern of the files, where the card is not to be asked."""
    roles: tuple[Role, ...]
    membership: Membership

    @property
    def precedence(self) -> int:
        """Of two rows with the same text, the one of the pool with the lower number stays."""
        return min(ROLES.index(role) for role in self.roles)


class Source(_Strict):
    """A data set at one revision, and what of it one domain takes."""

    domain: str
    choice: Choice
    repository: str
    revision: str = "main"
    """A commit where one is known; the branch otherwise."""
    licence: str
    note: str = ""
    """What a reader of the results must know."""
    column: str | None = None
    """Rows are chosen by its value; a dot leads into a struct."""
    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    pools: tuple[Pool, ...]

    def takes(self, value: str | None) -> bool:
        """Whether a row with this value in `column` is of the domain."""
        return value not in self.without and (self.only is None or value in self.only)


class Text(_Strict):
    """A named text: for each of its domains a primary source and, mostly, a fallback."""

    pile_models: tuple[str, ...]
    """Patterns of hub repositories whose models were trained on the Pile."""
    deduplicated_models: tuple[str, ...]
    """Those of them trained on the Pile without its duplicates."""
    sources: tuple[Source, ...]

    @property
    def domains(self) -> tuple[str, ...]:
        """In alphabetical order."""
        return tuple(sorted({source.domain for source in self.sources}))

    def of(self, domain: str, choice: Choice) -> tuple[Source, ...]:
        """The sources read together for one domain."""
        return tuple(source for source in self.sources if (source.domain, source.choice) == (domain, choice))

    def membership(self, stated: Membership, repository: str | None) -> Membership:
        """What is stated for models trained on the Pile, as it stands for the model of a hub repository."""
        if repository is None or not _any_match(repository, self.pile_models):
            return "unknown"
        if stated == "known member" and _any_match(repository, self.deduplicated_models):
            return "presumed"
        return stated


def texts() -> tuple[str, ...]:
    """The names of the texts that there are, the default first."""
    others = sorted(file.stem for file in FOLDER.glob("*.toml") if file.stem != HUB)
    return (HUB, *others)


def text(name: str) -> Text:
    """The sources of a named text, one of `texts()`."""
    return Text.model_validate(tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8")))


def _any_match(repository: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(repository.lower(), pattern.lower()) for pattern in patterns)
