"""Documents and where they are read from: a folder of plain files, or of `<domain>.jsonl[.gz]`."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError

GENERAL = "general"
"""The domain whose documents belong to no task: always kept."""

ROLES = ("forget", "retain", "retain_eval", "holdout")
"""What a document of a domain is for; see `benchmark.splits`."""

ROLE_NAMES = {role: role for role in ROLES} | {
    "approximate": "holdout",  # the word of Yao et al. 2024
    "retain_heldout": "retain_eval",
}
"""What the `split` field of a JSONL file may say, and the role it means."""


@dataclass(frozen=True)
class Document:
    """One text with a unique id; `role` is set only where its source fixes the split."""

    id: str
    text: str
    role: str | None = None


@dataclass(frozen=True)
class Corpus:
    """Documents by domain, both in alphabetical order."""

    path: Path
    domains: Mapping[str, tuple[Document, ...]]

    def documents(self, domain: str) -> tuple[Document, ...]:
        """The documents of one domain.

        Raises:
            InputError: the corpus has no such domain.
        """
        if domain not in self.domains:
            raise InputError(f"{self.path}: no documents of domain {domain!r}; it has {', '.join(sorted(self.domains))}")
        return self.domains[domain]

    def fingerprint(self) -> str:
        """SHA-256 over every id, role and text: two corpora with the same one are the same data."""
        digest = hashlib.sha256()
        for domain in sorted(self.domains):
            for document in self.domains[domain]:
                digest.update(json.dumps([domain, document.id, document.role, document.text]).encode())
        return digest.hexdigest()


def load_corpus(path: Path) -> Corpus:
    """Read every domain of a folder: `<domain>/<file>` or `<domain>.jsonl[.gz]`.

    Raises:
        InputError: no such folder, nothing in it, or a document that cannot be used (file and line are named).
    """
    if not path.is_dir():
        what = "not a folder" if path.exists() else "no such folder"
        raise InputError(f"{path}: {what}; data is a folder of <domain>.jsonl[.gz] files")
    domains: dict[str, tuple[Document, ...]] = {}
    owners: dict[str, str] = {}
    for entry in sorted(path.iterdir()):
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_dir():
            domain, documents = entry.name, list(_plain_files(entry))
        elif entry.name.endswith((".jsonl", ".jsonl.gz")):
            domain, documents = entry.name.split(".jsonl")[0], list(_json_lines(entry))
        else:
            continue
        if domain in domains:
            raise InputError(f"{entry}: domain {domain!r} is there twice; keep one file or folder for it")
        for document in documents:
            if document.id in owners:
                raise InputError(f"{entry}: id {document.id!r} is also in domain {owners[document.id]!r}; ids must be unique")
            owners[document.id] = domain
        domains[domain] = tuple(sorted(documents, key=lambda document: document.id))
    if not domains:
        raise InputError(f"{path}: nothing to read; expected <domain>.jsonl[.gz] with fields id, text and, optionally, split")
    return Corpus(path, dict(sorted(domains.items())))


def _plain_files(folder: Path) -> Iterator[Document]:
    for file in sorted(folder.iterdir()):
        if not file.is_file() or file.name.startswith("."):
            continue
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
        if not text.strip():
            raise InputError(f"{file}: empty document; remove it")
        yield Document(file.stem, text)


def _json_lines(file: Path) -> Iterator[Document]:
    opener = gzip.open if file.suffix == ".gz" else open
    seen: dict[str, int] = {}
    try:
        with opener(file, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                document = _parse_line(line, where=f"{file}, line {number}")
                if document.id in seen:
                    raise InputError(f"{file}, line {number}: id {document.id!r} was used on line {seen[document.id]}; ids must be unique")
                seen[document.id] = number
                yield document
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{file}: not a whole gzip file ({error}); compress it again") from None


def _parse_line(line: bytes, where: str) -> Document:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f'{where}: not JSON ({error.msg}); expected {{"id": ..., "text": ...}}') from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise InputError(f'{where}: no string field \'text\'; expected {{"id": ..., "text": ...}}')
    if not isinstance(row.get("id"), str | int) or row["id"] == "":
        raise InputError(f"{where}: no field 'id'; every document needs a unique one")
    if not row["text"].strip():
        raise InputError(f"{where}: 'text' is empty; remove the line")
    if any("\ud800" <= character <= "\udfff" for character in f"{row['id']}{row['text']}"):
        raise InputError(f"{where}: half a surrogate pair, which no encoding can write; replace it")
    split = row.get("split")
    if split is not None and not (isinstance(split, str) and split in ROLE_NAMES):
        raise InputError(f"{where}: split {split!r} is not known; use one of {', '.join(ROLE_NAMES)}, or leave it out")
    return Document(str(row["id"]), row["text"], None if split is None else ROLE_NAMES[split])
