"""The rows of a data set's files: Parquet or JSON lines, plain or compressed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import brief
from benchmark.text.fetch import Unusable

FIELDS = ("text", "content", "TEXT")
"""Names under which data sets publish their text; the first that is there is read."""

MOST_READ = 20_000
"""Rows of a split that are looked at: the first ones. Which of them are taken is drawn by hash."""

CHARACTERS = 4_000
"""A longer text is cut here, at about a thousand tokens: few whole papers would fill what a measurement may take."""

BATCH = 256


class Row(NamedTuple):
    """One row: its number in the split, from 0, its text and the value of the column asked for."""

    number: int
    text: str
    value: str | None


def read_rows(files: Sequence[Path], column: str | None) -> Iterator[Row]:
    """The first `MOST_READ` rows, their texts cut to `CHARACTERS`.

    Args:
        files: of one split, in order.
        column: read beside the text; `meta.pile_set_name` is a field of the struct `meta`.

    Raises:
        Unusable: a file cannot be read, or has no text.
    """
    index = 0
    for file in files:
        try:
            for record in islice(_records(file, column), MOST_READ - index):
                yield Row(index, _text(record, file)[:CHARACTERS], _value(record, column))
                index += 1
        except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
            raise Unusable(f"{_where(file)} cannot be read ({brief(error)})") from None


def _records(file: Path, column: str | None) -> Iterator[Mapping[str, Any]]:
    return _parquet(file, column) if file.suffix == ".parquet" else _json_lines(file)


def _parquet(file: Path, column: str | None) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as table:
        wanted = [_field(table.schema_arrow.names, file)]
        if column is not None:
            wanted.append(column.partition(".")[0])
        for batch in table.iter_batches(BATCH, columns=wanted):
            yield from batch.to_pylist()


def _json_lines(file: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow

    compression = {".gz": "gzip", ".zst": "zstd"}.get(file.suffix)
    with pyarrow.input_stream(str(file), compression=compression) as stream:
        for line in BufferedReader(stream):
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError("a line is not a JSON object")
                yield record


def _text(record: Mapping[str, Any], file: Path) -> str:
    text = record[_field(list(record), file)]
    return text if isinstance(text, str) else ""


def _field(names: Sequence[str], file: Path) -> str:
    for field in FIELDS:
        if field in names:
            return field
    raise Unusable(f"{_where(file)} has no text: none of the columns {', '.join(FIELDS)}, but {', '.join(names)}")


def _value(record: Mapping[str, Any], column: str | None) -> str | None:
    value: Any = record
    for part in column.split(".") if column is not None else ():
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _where(file: Path) -> str:
    """A file of the hub's cache by what it is a file of."""
    for parent in file.parents:
        if parent.parent.name == "snapshots":
            return f"{parent.parent.parent.name.removeprefix('datasets--').replace('--', '/')}, {file.relative_to(parent).as_posix()}"
    return str(file)
