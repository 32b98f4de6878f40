"""Rows of a data set's files: which column is the text, which rows are a domain's, and what cannot be read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from benchmark.text import rows
from benchmark.text.fetch import Unusable
from benchmark.text.rows import CHARACTERS, read_rows


def parquet(file: Path, table: Sequence[Mapping[str, Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(table)), file)
    return file


@pytest.mark.parametrize("field", ["text", "content", "TEXT"])
def test_every_name_of_the_text_is_understood(tmp_path: Path, field: str) -> None:
    file = parquet(tmp_path / "a.parquet", [{"other": 1, field: "one"}, {"other": 2, field: None}])
    assert [tuple(row) for row in read_rows([file], None)] == [(0, "one", None), (1, "", None)]


def test_numbers_run_on_from_file_to_file_and_texts_are_cut(tmp_path: Path) -> None:
    files = [parquet(tmp_path / f"{name}.parquet", [{"text": "x" * (CHARACTERS + 1)}, {"text": name}]) for name in "ab"]
    found = list(read_rows(files, None))
    assert [row.number for row in found] == [0, 1, 2, 3]
    assert [len(row.text) for row in found] == [CHARACTERS, 1, CHARACTERS, 1]


def test_only_the_first_rows_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_READ", 3)
    files = [parquet(tmp_path / f"{name}.parquet", [{"text": name}] * 2) for name in "ab"]
    assert [row.text for row in read_rows(files, None)] == ["a", "a", "b"]


def test_a_field_of_a_struct_is_read_beside_the_text(tmp_path: Path) -> None:
    table = [{"text": "code", "meta": {"pile_set_name": "Github"}}, {"text": "prose", "meta": {"pile_set_name": "ArXiv"}}]
    file = parquet(tmp_path / "a.parquet", table)
    assert [row.value for row in read_rows([file], "meta.pile_set_name")] == ["Github", "ArXiv"]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_json_lines_plain_or_compressed(tmp_path: Path, ending: str) -> None:
    lines = b"\n".join(json.dumps({"text": f"é {n}", "meta": {"part": "a"}}).encode() for n in range(3)) + b"\n"
    file = tmp_path / f"val.jsonl{ending}"
    file.write_bytes({"": lines, ".gz": gzip.compress(lines), ".zst": pyarrow.compress(lines, "zstd", asbytes=True)}[ending])
    assert [tuple(row) for row in read_rows([file], "meta.part")] == [(n, f"é {n}", "a") for n in range(3)]


def test_parquet_without_text(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", [{"tokens": [1], "label": 0}])
    with pytest.raises(Unusable) as caught:
        list(read_rows([file], None))
    assert str(caught.value) == f"{file} has no text: none of the columns text, content, TEXT, but tokens, label"


def test_a_file_of_the_cache_is_named_as_on_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "datasets--org--name" / "snapshots" / ("0" * 40) / "data"
    folder.mkdir(parents=True)
    with pytest.raises(Unusable, match=r"^org/name, data/a\.parquet has no text"):
        list(read_rows([parquet(folder / "a.parquet", [{"ids": 1}])], None))


@pytest.mark.parametrize(("name", "content"), [("a.parquet", b"PAR1 and no more"), ("a.jsonl", b'"a bare string"\n'), ("a.jsonl", b"{\n")])
def test_a_file_that_is_damaged(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unusable, match=rf"{name} cannot be read \(") as caught:
        list(read_rows([tmp_path / name], None))
    assert "\n" not in str(caught.value)
