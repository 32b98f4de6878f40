"""Reading documents: both layouts, and every way in which data can be unusable."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import tasks
from benchmark.corpus import ROLE_NAMES, Document, load_corpus
from benchmark.errors import InputError

GOOD = {"id": "a", "text": "some words"}


def jsonl(*rows: object) -> bytes:
    """Lines of JSON; bytes are taken as they are."""
    return b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows) + b"\n"


def complaint(folder: Path) -> str:
    """What is said about a folder that cannot be used: one line."""
    with pytest.raises(InputError) as caught:
        load_corpus(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_of_plain_files(tmp_path: Path) -> None:
    (tmp_path / "poems").mkdir()
    (tmp_path / "poems" / "second.txt").write_text("deux", "utf-8")
    (tmp_path / "poems" / "first.txt").write_text("été", "utf-8")
    (tmp_path / "poems" / ".DS_Store").write_bytes(b"\xff\xfe")
    (tmp_path / "README.md").write_text("not a document")
    corpus = load_corpus(tmp_path)
    assert corpus.domains == {"poems": (Document("first", "été"), Document("second", "deux"))}


@pytest.mark.parametrize("name", ["poems.jsonl", "poems.jsonl.gz"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    content = jsonl({"id": 2, "text": "two", "split": "approximate"}, b"", {"id": "1", "text": "one", "more": [1]})
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert load_corpus(tmp_path).documents("poems") == (Document("1", "one"), Document("2", "two", "holdout"))


def test_domains_come_in_the_same_order_in_either_layout(tmp_path: Path) -> None:
    lines, plain = tmp_path / "lines", tmp_path / "plain"
    for domain in ("a", "a-b"):
        (plain / domain).mkdir(parents=True)
        (plain / domain / f"{domain}-1.txt").write_text("text")
        lines.mkdir(exist_ok=True)
        (lines / f"{domain}.jsonl").write_bytes(jsonl({"id": f"{domain}-1", "text": "text"}))
    assert list(load_corpus(lines).domains) == list(load_corpus(plain).domains) == ["a", "a-b"]
    assert load_corpus(lines).fingerprint() == load_corpus(plain).fingerprint()


def test_every_name_of_a_role_is_understood(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(jsonl(*({"id": name, "text": "t", "split": name} for name in ROLE_NAMES)))
    assert {document.id: document.role for document in load_corpus(tmp_path).documents("x")} == ROLE_NAMES


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"id": "b", "text": ', "not JSON"),
        (b"[1]", "no string field 'text'"),
        (b'{"id": "b"}', "no string field 'text'"),
        (b'{"id": "b", "text": 7}', "no string field 'text'"),
        (b'{"id": "b", "text": " \\n"}', "'text' is empty; remove the line"),
        (b'{"text": "words"}', "no field 'id'"),
        (b'{"id": "", "text": "words"}', "no field 'id'"),
        (b'{"id": "b", "text": "caf\xe9"}', "not UTF-8 (byte 24); save the file as UTF-8"),
        (b'{"id": "b", "text": "\\ud800"}', "half a surrogate pair"),
        (b'{"id": "\\udc00", "text": "words"}', "half a surrogate pair"),
        (b'{"id": "b", "text": "words", "split": "train"}', "split 'train' is not known; use one of forget, retain"),
        (b'{"id": "b", "text": "words", "split": ["forget"]}', "split ['forget'] is not known"),
        (b'{"id": "a", "text": "words"}', "id 'a' was used on line 1; ids must be unique"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(jsonl(GOOD, line))
    message = complaint(tmp_path)
    assert message.startswith(f"{tmp_path / 'x.jsonl'}, line 2: ")
    assert said in message


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(jsonl(GOOD, b"", b"no"))
    assert "line 3: not JSON" in complaint(tmp_path)


def test_a_bad_plain_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    file = tmp_path / "x" / "a.txt"
    file.write_bytes(b"caf\xe9")
    assert complaint(tmp_path) == f"{file}: not UTF-8 (byte 3); save it as UTF-8"
    file.write_bytes(b" \n")
    assert complaint(tmp_path) == f"{file}: empty document; remove it"


@pytest.mark.parametrize("domains", [("x", "y"), ("x", "x")])
def test_an_id_used_twice(tmp_path: Path, domains: tuple[str, str]) -> None:
    for domain, suffix in zip(domains, ("txt", "tex"), strict=True):
        (tmp_path / domain).mkdir(exist_ok=True)
        (tmp_path / domain / f"same.{suffix}").write_text("words")
    message = complaint(tmp_path)
    assert message.startswith(str(tmp_path / domains[1]))
    assert "id 'same' is also in domain 'x'" in message


def test_gzip_that_is_cut_or_damaged_or_is_none(tmp_path: Path) -> None:
    whole = gzip.compress(jsonl(*({"id": str(i), "text": f"words {i * i}"} for i in range(100))))
    damaged = whole[:10] + b"\xff" + whole[11:]  # a deflate block of no known type
    for content in (whole[: len(whole) // 2], damaged, b"plain text"):
        (tmp_path / "x.jsonl.gz").write_bytes(content)
        assert complaint(tmp_path).startswith(f"{tmp_path / 'x.jsonl.gz'}: not a whole gzip file (")


def test_a_folder_with_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not data")
    (tmp_path / ".x.jsonl").write_text("not data either")
    assert complaint(tmp_path) == f"{tmp_path}: nothing to read; expected <domain>.jsonl[.gz] with fields id, text and, optionally, split"


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    assert complaint(tmp_path / "none").startswith(f"{tmp_path / 'none'}: no such folder; data is a folder of")
    (tmp_path / "file").touch()
    assert complaint(tmp_path / "file").startswith(f"{tmp_path / 'file'}: not a folder; data is a folder of")


@pytest.mark.parametrize("other", ["x.jsonl", "x.jsonl.gz"])
def test_a_domain_that_is_there_twice(tmp_path: Path, other: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_text("words")
    content = jsonl({"id": "b", "text": "words"})
    (tmp_path / other).write_bytes(gzip.compress(content) if other.endswith("gz") else content)
    assert complaint(tmp_path) == f"{tmp_path / other}: domain 'x' is there twice; keep one file or folder for it"


def test_a_domain_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(jsonl(GOOD))
    with pytest.raises(InputError, match=r"no documents of domain 'y'; it has x$"):
        load_corpus(tmp_path).documents("y")


def test_the_fingerprint_tells_ids_texts_and_roles_apart(tmp_path: Path) -> None:
    seen = set()
    for row in (GOOD, GOOD | {"id": "b"}, GOOD | {"text": "other"}, GOOD | {"split": "forget"}):
        (tmp_path / "x.jsonl").write_bytes(jsonl(row))
        seen.add(load_corpus(tmp_path).fingerprint())
    assert len(seen) == 4


def test_the_bundled_corpus() -> None:
    corpus = load_corpus(tasks.CORPUS)
    assert {domain: len(documents) for domain, documents in corpus.domains.items()} == {
        "arxiv": 96,
        "books": 96,
        "general": 48,
        "github": 96,
    }
    assert all(document.text.isascii() for documents in corpus.domains.values() for document in documents)
