"""The user's own text: a text file, a folder of them, or a table (JSONL, CSV, Parquet), as documents."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.corpus import Document
from benchmark.errors import InputError, brief

FIELDS = ("text", "content", "TEXT")
"""Names that a table's column of text may have, the first that is there counts."""

IDS = ("id", "ID")
"""Names of the column that tells documents apart; without one they are numbered."""

TABLES = (".jsonl", ".jsonl.gz", ".csv", ".parquet")

ENDINGS = """
    .txt .text .md .markdown .rst .adoc .org .tex .bib .htm .html .xml .srt
    .py .pyi .ipynb .js .jsx .ts .tsx .java .kt .scala .c .h .cc .cpp .hpp .cs .go .rs .rb .php .pl .lua .r .jl .m .swift .sh .bash .ps1
    .sql .css .scss .yaml .yml .toml .ini .cfg .f90 .hs .ml .clj .ex .erl .vim .el .lisp .asm .s .v .vhd .proto .tf .cmake .mk
"""
PLAIN = frozenset(ENDINGS.split())
"""Endings of the files that are read as text from a folder; a file named by itself may have any."""


@dataclass(frozen=True)
class ReadText:
    """What was read from one path."""

    documents: tuple[Document, ...]
    sha256: str
    """Of the files read, one after the other in the order of their paths: of one file, what `sha256sum` says."""
    left_out: tuple[str, ...]
    """What was not read, and why."""


def read_text(path: Path) -> ReadText:
    """Every document of a file or of a folder, sub-folders included.

    Raises:
        InputError: there is no such path, nothing in it, or a file that should be text is none; file and line are named.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files, left_out = _files(path) if path.is_dir() else ([path], [])
    documents: list[Document] = []
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(file.read_bytes())
            found = list(_documents(file, file.name if file == path else file.relative_to(path).as_posix()))
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror or error}") from None
        filled = [document for document in found if document.text.strip()]
        if blank := len(found) - len(filled):
            left_out.append(f"{file}: empty" if len(found) == 1 else f"{file}: {blank} empty rows")
        documents += filled
    if not documents:
        told = f" ({'; '.join(left_out[:3])})" if left_out else ""
        raise InputError(f"{path}: no text in it{told}; expected text files, or a table ({', '.join(TABLES)}) with a field 'text'")
    return ReadText(tuple(documents), digest.hexdigest(), tuple(left_out))


def _files(folder: Path) -> tuple[list[Path], list[str]]:
    files, left_out = [], []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder).parts
        if not file.is_file() or any(part.startswith((".", "__pycache__")) for part in inside):
            continue
        if file.suffix.lower() in PLAIN or file.name.lower().endswith(TABLES):
            files.append(file)
        else:
            left_out.append(f"{file}: not read, {file.suffix or 'no ending'} is none of the endings of text")
    return files, left_out


def _documents(file: Path, name: str) -> Iterator[Document]:
    lower = file.name.lower()
    if lower.endswith((".jsonl", ".jsonl.gz")):
        return _named(_json_rows(file), file, name)
    if lower.endswith(".csv"):
        return _named(_table_rows(file, "CSV"), file, name)
    if lower.endswith(".parquet"):
        return _named(_table_rows(file, "Parquet"), file, name)
    return iter([Document(name, _plain(file))])


def _plain(file: Path) -> str:
    content = file.read_bytes()
    if b"\0" in content:
        raise InputError(f"{file}: not a text file; save it as plain text, or leave it out")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start}); save it as plain text in UTF-8, or leave it out") from None


def _named(rows: Iterator[tuple[int, dict[str, Any]]], file: Path, name: str) -> Iterator[Document]:
    """The rows of a table as documents `name#id`, or `name#number` where they have no id."""
    seen: dict[str, int] = {}
    for number, row in rows:
        field = next((field for field in FIELDS if field in row), None)
        if field is None:
            raise InputError(f"{file}, row {number}: no field 'text' (nor {' nor '.join(map(repr, FIELDS[1:]))}); it has {_some(row)}")
        text = row[field]
        if text is None or text != text:  # a missing value of a table
            text = ""
        if not isinstance(text, str):
            raise InputError(f"{file}, row {number}: field {field!r} is no text but {type(text).__name__}")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(f"{file}, row {number}: half a surrogate pair, which no encoding can write; replace it")
        given = next((row[name] for name in IDS if isinstance(row.get(name), str | int)), number)
        if (first := seen.setdefault(str(given), number)) != number:
            raise InputError(f"{file}, row {number}: id {given!r} was used in row {first}; ids must be unique")
        yield Document(f"{name}#{given}", text)


def _json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    opener = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opener(file, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _json_row(line, f"{file}, row {number}")
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{file}: not a whole gzip file ({error}); compress it again") from None


def _json_row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f'{where}: not JSON ({error.msg}); expected {{"text": ...}}') from None
    if not isinstance(row, dict):
        raise InputError(f'{where}: not an object; expected {{"text": ...}}')
    return row


def _table_rows(file: Path, kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pandas as pd

    try:
        frame = pd.read_parquet(file) if kind == "Parquet" else pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError:
        raise
    except Exception as error:  # each library below raises its own kinds; whichever, the file is of no use
        raise InputError(f"{file}: not a {kind} file that can be read: {brief(error)}") from None
    columns = [str(column) for column in frame.columns]
    if not set(columns) & set(FIELDS):
        raise InputError(f"{file}: no column 'text' (nor {' nor '.join(map(repr, FIELDS[1:]))}); it has {_some(columns)}")
    wanted = [column for column in columns if column in FIELDS + IDS]
    for number, values in enumerate(frame[wanted].itertuples(index=False, name=None), start=1):
        yield number, dict(zip(wanted, values, strict=True))


def _some(names: Sequence[str] | dict[str, Any]) -> str:
    names = list(names)
    return (", ".join(names[:6]) + (" and more" if len(names) > 6 else "")) or "none"
