"""A table inside a page: what people wrote around it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from records import original, record, retrained, spec

from benchmark import store
from benchmark.errors import InputError
from benchmark.excerpt import replace_between
from benchmark.leaderboard.render import put_into

PAGE = "Before.\n\n<!-- board -->\nold | table\n<!-- /board -->\n\nAfter, <!-- other --> and more.\n"


def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    replace_between(page, "board", "\nnew\n\n")
    assert page.read_text() == PAGE.replace("old | table", "new")
    replace_between(page, "board", "new")
    assert page.read_text() == PAGE.replace("old | table", "new")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read {page}: No such file or directory"),
        ("nothing", "{page}: no place for it; put <!-- board --> and <!-- /board --> on lines of their own where the table should go"),
        (
            "<!-- board -->\n",
            "{page}: no place for it; put <!-- board --> and <!-- /board --> on lines of their own where the table should go",
        ),
    ],
)
def test_a_page_without_a_place_for_it(text: str | None, said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    if text is not None:
        page.write_text(text)
    with pytest.raises(InputError) as caught:
        replace_between(page, "board", "new")
    assert str(caught.value) == said.format(page=page)


def test_the_overall_table_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    for made in (original(), retrained(), record(spec("ascent"), ((0.01, 0.5),))):
        store.write(tmp_path, made)
    put_into(tmp_path / "page.md", tmp_path)
    lines = (tmp_path / "page.md").read_text().splitlines()
    assert lines[2:4] == ["<!-- board -->", lines[3]]
    assert [line.split("|")[2].strip() for line in lines[3:8]] == [
        "method",
        lines[4].split("|")[2].strip(),
        "retrained",
        "original",
        "ascent",
    ]
    assert lines[-1] == "After, <!-- other --> and more."
