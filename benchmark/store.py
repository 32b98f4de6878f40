"""Records on disk: one JSON file a cell, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import JsonValue, ValidationError

from benchmark.errors import InputError
from benchmark.record import SCHEMA, Record, Spec

RECORDS = "records"
"""Sub-folder of a run's folder that holds them."""

LOCK = ".lock"
OWNER = ".lock.pid"
"""Process id of the lock's holder: a file of its own, as the locked one cannot be read on every system."""

TEMPORARY = ".tmp"


def path(folder: Path, spec: Spec) -> Path:
    """Where the record of a cell is: `<folder>/records/<task>--<method>--<key>.json`."""
    task, method = (re.sub(r"[^\w-]", "_", name) for name in (spec.task, spec.method))
    return folder / RECORDS / f"{task}--{method}--{spec.key()}.json"


def write(folder: Path, record: Record) -> Path:
    """Save a record under the name its spec gives it; a crash leaves the old file or the new one, never half of one.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    target = path(folder, record.spec)
    write_file(target, (to_json(record.model_dump(mode="json")) + "\n").encode())
    return target


def write_file(target: Path, content: bytes) -> None:
    """Write a file atomically, making its folder if need be.

    Raises:
        InputError: it cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {target}: {error.strerror or error}; free some space or name another folder") from error


def read(file: Path) -> Record:
    """Read one record.

    Raises:
        InputError: it is unreadable, not a record of this version, or another cell's than its name says.
    """
    remedy = "move it out of the folder or delete it, and run again"
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}); {remedy}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA:
        raise InputError(f"{file} is not a record of schema version {SCHEMA} (it says {version!r}); {remedy}")
    try:
        record = Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{file} is not a record: {where}: {first['msg']}; {remedy}") from error
    if file.name != path(file.parent, record.spec).name:
        raise InputError(f"{file} holds the cell of {path(file.parent, record.spec).name}: renamed or edited; {remedy}")
    return record


def read_all(folder: Path, method: str | None = None) -> list[Record]:
    """Every record of a folder, or of one method, in the order of their names; what an interrupted write left behind is passed over."""
    pattern = "*.json" if method is None else f"*--{method}--*.json"
    return [read(file) for file in sorted((folder / RECORDS).glob(pattern)) if not file.name.startswith(".")]


def find(folder: Path, spec: Spec) -> Record | None:
    """The record of a cell, None where it has not been run."""
    file = path(folder, spec)
    return read(file) if file.exists() else None


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that no second run writes to it; clears what interrupted writes left behind.

    Raises:
        InputError: another run holds it.
    """
    owner = folder / OWNER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / LOCK).acquire(blocking=False)
    except Timeout as error:
        pid = owner.read_text().strip() if owner.exists() else "unknown"
        raise InputError(f"another run (pid {pid}) is writing to {folder}; wait for it, or name another folder") from error
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}; name another folder") from error
    with held:
        write_file(owner, f"{os.getpid()}\n".encode())
        for leftover in (folder / RECORDS).glob(f".*{TEMPORARY}"):
            leftover.unlink(missing_ok=True)
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)


def to_json(value: JsonValue, indent: int = 0) -> str:
    """JSON that reads well in a diff: one key a line, lists of plain values on one line, floats to the last bit."""
    pad = "\n" + " " * (indent + 1)
    end = "\n" + " " * indent
    if isinstance(value, dict) and value:
        entries = (f"{json.dumps(key)}: {to_json(item, indent + 1)}" for key, item in value.items())
        return "{" + pad + f",{pad}".join(entries) + end + "}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[" + pad + f",{pad}".join(to_json(item, indent + 1) for item in value) + end + "]"
    return json.dumps(value, allow_nan=False)
