"""Clones of code by hand, and against a slower way to find them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.panel.clones import Token, code_tokens, longest_clone


def length(first: str, second: str) -> int:
    return longest_clone(code_tokens(first), code_tokens(second))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("total = price * count", "x = y * z", 5),
        ("total=price  *\n  count", "x = y * z", 5),
        ("a = a + b", "x = y + z", 4),  # `a` cannot be both `x` and `y`
        ("x = y", "a = a", 2),  # nor can `a` be both `x` and `y`
        ("for item in items:", "for n in names:", 5),
        ("for item in items:", "while item in items:", 4),
        ("x = 1", "x = 2", 2),
        ("x += step", "x -= step", 2),
        ("# find the longest run", "# drop all empty lines", 1),
        ("# find the longest run", "# find the longest word", 4),
        ("int size = 0;", "int n = 0;", 3),  # type and name beside each other are taken as they are
        ("static void main(", "static void main(", 4),
        ("", "x = 1", 0),
    ],
)
def test_by_hand(first: str, second: str, expected: int) -> None:
    assert length(first, second) == expected
    assert length(second, first) == expected


def test_what_is_a_name() -> None:
    found = code_tokens('return self.rows[0x1F]  # the rows\nelse_ = "é"')
    assert [token.text for token in found if token.name] == ["self", "rows", "else_", "é"]
    assert [token.text for token in found if not token.name] == ["return", ".", "[", "0x1F", "]", "#", "the", "rows", "=", '"', '"']


def numbered(tokens: list[Token]) -> list[str]:
    """Every name replaced with the order in which it first comes."""
    order: dict[str, str] = {}
    return [order.setdefault(token.text, f"name {len(order)}") if token.name else token.text for token in tokens]


tokens = st.lists(st.builds(Token, st.sampled_from("ab"), st.booleans()), max_size=7)


@given(tokens, tokens)
def test_as_numbering_the_names_of_all_stretches_finds_it(first: list[Token], second: list[Token]) -> None:
    def stretches(given: list[Token]) -> set[tuple[str, ...]]:
        ends = range(len(given) + 1)
        return {tuple(numbered(given[start:end])) for start in ends for end in ends if start <= end}

    assert longest_clone(first, second) == max(map(len, stretches(first) & stretches(second)))
