"""What counts as the same text twice, and which of two stays."""

from __future__ import annotations

from hub_text import words
from hypothesis import given
from hypothesis import strategies as st

from benchmark.corpus import Document
from benchmark.text.overlap import ORDER, SHARE, WORDS, distinct, runs, share, without_overlap


def document(name: str, text: str) -> Document:
    return Document(name, text)


def test_runs_are_of_thirteen_words_whatever_their_case() -> None:
    text = " ".join(f"w{number}" for number in range(15))
    assert runs(text) == {" ".join(f"w{number}" for number in range(start, start + WORDS)) for start in range(3)}
    assert runs(text.upper()) == runs(text)
    assert runs("too short") == {"too short"}


def test_the_share_is_of_the_texts_own_runs() -> None:
    text = words("a", 40)
    assert share(text, runs(text)) == 1
    assert share(text, runs(words("b", 40))) == 0
    half = " ".join(text.split()[:26])  # 14 of its 28 runs
    assert share(text, runs(half)) == 0.5


def test_the_first_of_two_equal_texts_stays() -> None:
    kept, dropped = distinct([document("a", "same"), document("b", "other"), document("c", " same\n")])
    assert ([d.id for d in kept], dropped) == (["a", "b"], 1)


def test_what_overlaps_goes_and_the_forget_set_is_whole() -> None:
    forget = words("forget", 100)
    roles = {
        "forget": [document("f", forget)],
        "retain": [document("r", words("retain", 100)), document("r-near", forget + " and a few words more")],
        "retain_eval": [document("e", words("eval", 100))],
        "holdout": [document("h", words("holdout", 100)), document("h-near", words("x", 60) + " " + words("retain", 100))],
    }
    found = without_overlap(roles)
    assert {role: [d.id for d in documents] for role, documents in found.roles.items()} == {
        "forget": ["f"],
        "retain": ["r"],
        "retain_eval": ["e"],
        "holdout": ["h"],
    }
    assert found.overlapping == {"forget": (), "retain": ("r-near",), "retain_eval": (), "holdout": ("h-near",)}


def test_a_licence_header_is_no_overlap() -> None:
    header = words("licence", 20)
    roles = {"forget": [document("f", f"{header} {words('f', 200)}")], "retain": [document("r", f"{header} {words('r', 200)}")]}
    assert without_overlap(roles).overlapping["retain"] == ()


def test_near_duplicates_of_one_role_stay() -> None:
    text = words("a", 100)
    assert len(without_overlap({"forget": [document("a", text), document("b", text + " more")]}).roles["forget"]) == 2


@given(st.lists(st.tuples(st.sampled_from(ORDER), st.text("ab ", max_size=60)), max_size=12))
def test_what_is_left_does_not_overlap_across_roles(drawn: list[tuple[str, str]]) -> None:
    roles = {role: [document(str(n), text) for n, (of, text) in enumerate(drawn) if of == role] for role in ORDER}
    found = without_overlap(roles)
    seen: set[str] = set()
    for role in ORDER:
        assert all(share(d.text, seen) < SHARE for d in found.roles[role])
        assert {d.id for d in found.roles[role]} | set(found.overlapping[role]) == {d.id for d in roles[role]}
        seen |= {run for d in found.roles[role] for run in runs(d.text)}
