"""A removal request: how the user's own text is read, cut, checked and dealt out."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from benchmark.corpus import Document
from benchmark.errors import InputError
from benchmark.removal import NEEDED, Removal, read_removal
from benchmark.removal.pieces import LONGEST, SHORTEST, WANTED, cut, piece_length
from benchmark.removal.reading import FIELDS, TABLES, read_text
from benchmark.splits import Splits
from benchmark.utility import held_back


def prose(topic: str, sentences: int) -> str:
    """Sentences of a topic's own words in paragraphs of four, no two sentences alike."""
    rng = random.Random(topic)
    told = [
        f"The {topic} of {' '.join(rng.choice('abcdefghij') * rng.randint(2, 6) for _ in range(12))} is number {i}."
        for i in range(sentences)
    ]
    return "\n\n".join(" ".join(told[start : start + 4]) for start in range(0, sentences, 4))


def texts(topic: str, count: int) -> list[str]:
    return [prose(f"{topic}{index}", 6) for index in range(count)]


def json_lines(file: Path, rows: Sequence[object]) -> Path:
    content = "\n".join(json.dumps(row) for row in rows).encode()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    file = tmp_path / "chapter.txt"
    file.write_text(prose("comet", 120))
    return file


@pytest.fixture
def rest(tmp_path: Path) -> Path:
    return json_lines(tmp_path / "rest.jsonl", [{"id": f"r{i}", "text": text} for i, text in enumerate(texts("kettle", 24))])


@pytest.fixture
def unseen(tmp_path: Path) -> Path:
    return json_lines(tmp_path / "unseen.jsonl", [{"text": text} for text in texts("garden", 20)])


def everything(splits: Splits) -> dict[str, set[str]]:
    """Ids by part."""
    parts = {"forget": splits.forget, "retain": splits.retain, "general": splits.general}
    for name, halves in splits.evaluation.items():
        parts |= {f"{name}/validation": halves.validation, f"{name}/test": halves.test}
    return {name: {document.id for document in documents} for name, documents in parts.items()}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("ending", TABLES)
def test_every_kind_of_table_is_read_under_every_name_of_its_text(tmp_path: Path, ending: str, field: str) -> None:
    rows = [{field: f"a text, {i} lines\nlong", "id": f"n{i}", "other": i} for i in range(3)]
    file = tmp_path / f"letters{ending}"
    if ending == ".csv":
        pd.DataFrame(rows).to_csv(file, index=False)
    elif ending == ".parquet":
        pd.DataFrame(rows).to_parquet(file)
    else:
        json_lines(file, rows)
    read = read_text(file)
    assert read.documents == tuple(Document(f"letters{ending}#n{i}", f"a text, {i} lines\nlong") for i in range(3))
    assert read.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert read.left_out == ()


def test_rows_without_an_id_are_numbered_and_empty_ones_are_left_out_with_a_word(tmp_path: Path) -> None:
    file = tmp_path / "letters.csv"
    file.write_text('\ufefftext\nNA\n"  "\nlast\n', "utf-8")
    read = read_text(file)
    assert [(document.id, document.text) for document in read.documents] == [("letters.csv#1", "NA"), ("letters.csv#3", "last")]
    assert read.left_out == (f"{file}: 1 empty rows",)


def test_a_folder_is_read_with_all_below_it_and_what_is_no_text_is_named(tmp_path: Path) -> None:
    for name, content in {"b.txt": b"B", "in/a.py": b"A\r\n", "in/pic.png": b"\0", ".git/x.txt": b"no", "c.md": b" "}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    json_lines(tmp_path / "in" / "rows.jsonl", [{"text": "R", "id": 7}])
    read = read_text(tmp_path)
    assert [(document.id, document.text) for document in read.documents] == [("b.txt", "B"), ("in/a.py", "A\n"), ("in/rows.jsonl#7", "R")]
    assert [line.removeprefix(f"{tmp_path}/") for line in read.left_out] == [
        "in/pic.png: not read, .png is none of the endings of text",
        "c.md: empty",
    ]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("no.txt", None, "no such file or folder"),
        ("empty.txt", b" \n", r"no text in it \(.*empty\.txt: empty\); expected text files, or a table"),
        ("scan.pdf", b"%PDF\0", "not a text file; save it as plain text"),
        ("latin.txt", "é".encode("latin-1"), r"not UTF-8 \(byte 0\)"),
        ("a.jsonl", b'{"text": "x"}\n{"tex', "row 2: not JSON"),
        ("a.jsonl", b'["x"]', "row 1: not an object"),
        ("a.jsonl", b'{"body": "x"}', "row 1: no field 'text' \\(nor 'content' nor 'TEXT'\\); it has body"),
        ("a.jsonl", b'{"text": 3}', "row 1: field 'text' is no text but int"),
        ("a.jsonl", b'{"text": "x", "id": 1}\n{"text": "y", "id": "1"}', "row 2: id '1' was used in row 1"),
        ("a.jsonl", b'{"text": "\\ud800"}', "row 1: half a surrogate pair"),
        ("a.jsonl.gz", b"plain", "not a whole gzip file"),
        ("a.csv", b"body\nx\n", "no column 'text' .*; it has body"),
        ("a.csv", b'text\nx\n"y', "not a CSV file that can be read"),
        ("a.parquet", b"PAR", "not a Parquet file that can be read"),
    ],
)
def test_text_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint) as error:
        read_text(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_parquet_file_without_text_says_what_it_has(tmp_path: Path) -> None:
    pd.DataFrame({"tokens": [1], "label": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: no column 'text' .*; it has tokens, label"):
        read_text(tmp_path / "a.parquet")


@pytest.mark.parametrize("text", [prose("comet", 60), "x" * 5000, "line of words\n" * 400, "一二三。" * 900, "\n\n".join(["short"] * 700)])
@pytest.mark.parametrize("length", [250, 600])
def test_pieces_are_of_one_size_and_together_the_text(text: str, length: int) -> None:
    pieces = cut(Document("d", text), length)
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(text.split())
    assert all(len(piece.text) <= 1.5 * length for piece in pieces)
    assert len(text) / length / 1.5 <= len(pieces) <= 2 * len(text) / length + 1
    assert [piece.id for piece in pieces] == [f"d/{number}" for number in range(1, len(pieces) + 1)]


def test_paragraphs_stay_whole_where_they_can() -> None:
    paragraphs = [f"{word} " * 20 for word in ("one", "two", "three", "four")]
    assert [piece.text for piece in cut(Document("d", "\n\n".join(paragraphs)), 130)] == [paragraph.strip() for paragraph in paragraphs]
    assert cut(Document("d", "a short text"), 130) == (Document("d", "a short text"),)


def test_one_length_serves_all_sets_and_only_scarce_text_makes_it_shorter() -> None:
    many = [Document(str(i), "x" * 100) for i in range(WANTED)]
    assert piece_length([many]) == LONGEST
    assert piece_length([many, [Document("chapter", "x" * 32_000)]]) == 1000
    assert piece_length([many, [Document("note", "x" * 320)]]) == SHORTEST


def test_a_chapter_is_judged_on_itself_and_kept_text_is_dealt_out(chapter: Path, rest: Path, unseen: Path) -> None:
    text = read_removal(Removal(chapter, rest, unseen))
    parts = everything(text.splits)
    assert parts["forget/validation"] | parts["forget/test"] == parts["forget"]
    assert not parts["forget/validation"] & parts["forget/test"]
    assert abs(len(parts["forget/validation"]) - len(parts["forget/test"])) <= 1
    held = parts["retain/validation"] | parts["retain/test"]

    def sources(ids: set[str]) -> set[str]:
        return {identifier.partition("#")[2].partition("/")[0] for identifier in ids}

    assert not sources(parts["retain"]) & sources(held), "no document gives pieces to both"
    assert len(sources(held)) == 8
    assert len(sources(parts["retain"])) == 16
    assert all(not identifier.startswith(("forget", "retain", "holdout")) for identifier in parts["general"])
    assert not parts["general"] & (parts["general/validation"] | parts["general/test"])
    assert text.requested.forget_sha256 == hashlib.sha256(chapter.read_bytes()).hexdigest()
    assert text.requested.documents == {"forget": 1, "retain": 24, "holdout": 20}
    assert text.requested.pieces["forget"] == len(parts["forget"]) >= WANTED / 2
    assert {document.id for document in text.splits.reference} == parts["retain"] | held


def test_without_retain_text_general_text_stands_in_and_without_a_holdout_nothing_does(chapter: Path) -> None:
    text = read_removal(Removal(chapter))
    parts = everything(text.splits)
    assert "holdout/test" not in parts
    assert {identifier.partition("-")[0] for identifier in parts["retain"] | parts["retain/test"]} == {"general"}
    assert {identifier.partition("-")[0] for identifier in parts["general"]} == {"arxiv", "book", "github"}
    assert set(text.requested.pieces) == {"forget"}


def test_no_method_is_given_what_general_utility_is_asked_on(chapter: Path, rest: Path) -> None:
    for removal in (Removal(chapter), Removal(chapter, rest)):
        parts = everything(read_removal(removal).splits)
        assert parts["general"]
        assert not (parts["retain"] | parts["general"]) & held_back()


def test_the_same_request_gives_the_same_splits(chapter: Path, rest: Path) -> None:
    read_removal.cache_clear()
    first = read_removal(Removal(chapter, rest)).splits.fingerprint()
    read_removal.cache_clear()
    assert read_removal(Removal(chapter, rest)).splits.fingerprint() == first


def test_bundled_documents_that_are_to_be_forgotten_are_no_general_text(tmp_path: Path) -> None:
    from tasks import CORPUS

    asked = sorted((CORPUS / "books").iterdir())[:12]
    (tmp_path / "asked").mkdir()
    for file in asked:
        (tmp_path / "asked" / file.name).write_bytes(file.read_bytes())
    text = read_removal(Removal(tmp_path / "asked"))
    parts = everything(text.splits)
    everywhere = set().union(*(ids for name, ids in parts.items() if not name.startswith("forget")))
    assert not everywhere & {file.stem for file in asked}
    assert text.said == ("12 bundled documents of books left out: they repeat what is to be forgotten",)


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """What is said of a request that cannot be used."""

    def ask(**text: str | Sequence[str]) -> str:
        given = {}
        for name, content in text.items():
            given[name] = tmp_path / f"{name}.jsonl"
            json_lines(given[name], [{"text": row} for row in ([content] if isinstance(content, str) else content)])
        with pytest.raises(InputError) as error:
            read_removal(Removal(**given))
        return str(error.value).replace(f"{tmp_path}/", "")

    return ask


def test_too_little_text_is_refused_with_what_is_needed(refused: Callable[..., str]) -> None:
    assert refused(forget=prose("comet", 4)) == (
        f"--forget forget.jsonl: {len(prose('comet', 4))} characters in 1 documents are too little for an interval:"
        " 8 documents are needed, or some 2,500 characters to cut into as many pieces"
    )
    enough = prose("comet", 120)
    assert "--retain retain.jsonl" in refused(forget=enough, retain=prose("kettle", 8))
    assert "--holdout holdout.jsonl" in refused(forget=enough, holdout=prose("garden", 4))
    assert "no document of at least 40 characters" in refused(forget=["tiny"] * 9)


def test_what_is_said_to_be_enough_is(tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    for seed in range(20):
        file.write_text(prose(f"topic{seed}", 60)[: NEEDED["forget"] * SHORTEST * 5 // 4])
        read_removal.cache_clear()
        read_removal(Removal(file))


def test_text_that_is_to_be_forgotten_and_kept_is_refused(refused: Callable[..., str]) -> None:
    chapter, others = prose("comet", 120), texts("kettle", 20)
    assert refused(forget=chapter, retain=[*others, f"A book. {' '.join(others)} {chapter.upper()}"]).startswith(
        "--forget forget.jsonl and --retain retain.jsonl overlap: retain/retain.jsonl#21"
    )
    assert "--retain retain.jsonl and --holdout holdout.jsonl overlap" in refused(
        forget=chapter, retain=others, holdout=[*texts("garden", 9), others[3]]
    )


def test_a_quotation_is_no_overlap(chapter: Path, tmp_path: Path) -> None:
    quotation = " ".join(chapter.read_text().split()[:20])
    rest = json_lines(tmp_path / "rest.jsonl", [{"text": f"{text} {quotation}"} for text in texts("kettle", 20)])
    assert read_removal(Removal(chapter, rest)).requested.documents["retain"] == 20


def test_a_document_that_is_there_twice_counts_once(chapter: Path, tmp_path: Path) -> None:
    rows = texts("kettle", 20)
    rest = json_lines(tmp_path / "rest.jsonl", [{"text": text} for text in [*rows, rows[0], "too short"]])
    text = read_removal(Removal(chapter, rest))
    assert text.requested.documents["retain"] == 20
    assert text.said == (
        f"{rest}: 1 documents of under 40 characters left out: there is nothing in them to measure",
        f"{rest}: 1 documents left out that are there twice",
    )
