"""What a run's text is, document by document: kept with the results, where the text itself need not be published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue

from benchmark import store
from benchmark.errors import InputError
from benchmark.text.sources import Choice, Membership


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Read(_Strict):
    """One split that was read."""

    repository: str
    revision: str
    """The commit."""
    pinned: bool
    """Whether this commit was asked for; otherwise it is what the branch was then."""
    config: str | None
    split: str
    licence: str
    note: str
    membership: Membership
    """Of its rows, in the training data of the model of this results folder."""
    rows: int
    """Of the domain."""

    @property
    def name(self) -> str:
        """What document entries refer to: unique within a manifest."""
        return "/".join(part for part in (self.repository, self.config, self.split) if part)


class Dropped(_Strict):
    """How many rows were left out of a domain, and why."""

    empty: int
    duplicate: int
    """The text is another row's."""
    beyond_cap: int
    """Not drawn: there are enough."""
    overlapping: dict[str, int]
    """By role: 13-word runs shared with documents of a role that goes before."""


class Domain(_Strict):
    """Where a domain's documents are from."""

    choice: Choice
    instead_of: str | None
    """Why it is not the primary source, where it is not."""
    sources: tuple[Read, ...]
    dropped: Dropped


class Entry(NamedTuple):
    """One document. `sha256` is of its text as it was used; `source` is the name of a split that was read."""

    domain: str
    role: str
    sha256: str
    source: str


class Manifest(_Strict):
    """The text that a results folder's records are of."""

    schema_version: Literal[1] = 1
    text: str
    """Name of the text."""
    rules: dict[str, JsonValue]
    """By which documents were chosen."""
    request: str
    """SHA-256 over what was asked for: sources, rules, model."""
    fingerprint: str
    """Of the corpus."""
    domains: dict[str, Domain]
    documents: dict[str, Entry]
    """By id."""

    def fallbacks(self) -> dict[str, str]:
        """What has to be said aloud, by domain: the sources that are not the ones intended, and why."""
        return {
            domain: f"the text for {domain} is the fallback {_names(found.sources)}, because {found.instead_of}"
            for domain, found in self.domains.items()
            if found.instead_of is not None
        }

    def membership(self, document: str) -> Membership:
        """Whether a document was in the model's training data."""
        return self.source(document).membership

    def source(self, document: str) -> Read:
        """The split that a document is from."""
        entry = self.documents[document]
        return next(read for read in self.domains[entry.domain].sources if read.name == entry.source)


def _names(reads: Iterable[Read]) -> str:
    return " and ".join(dict.fromkeys(read.repository for read in reads))


def sha256(text: str) -> str:
    """Of a text in UTF-8, as hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest(parts: Mapping[str, object]) -> str:
    """SHA-256 over the canonical JSON of something."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def path(folder: Path, text: str) -> Path:
    """Where the manifest of a text is in a results folder."""
    return folder / f"manifest-{text}.json"


def write(folder: Path, manifest: Manifest) -> None:
    """Save a manifest in a results folder, a document a line.

    Raises:
        InputError: it cannot be written.
    """
    store.write_file(path(folder, manifest.text), (store.to_json(manifest.model_dump(mode="json")) + "\n").encode())


def read(folder: Path, text: str) -> Manifest | None:
    """The manifest of a text in a results folder, None where there is none.

    Raises:
        InputError: it is unreadable.
    """
    file = path(folder, text)
    if not file.is_file():
        return None
    try:
        return Manifest.model_validate_json(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not a manifest ({str(error).splitlines()[0]}); delete it, and it is made again") from None
