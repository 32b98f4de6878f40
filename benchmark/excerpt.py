"""A table kept up to date inside a page that people write: between `<!-- name -->` and `<!-- /name -->`."""

from __future__ import annotations

from pathlib import Path

from benchmark import store
from benchmark.errors import InputError


def replace_between(page: Path, name: str, content: str) -> None:
    """Put content between the page's two marks of that name, in the place of what is there.

    Raises:
        InputError: the page cannot be read or written, or does not have the marks.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    try:
        text = page.read_text("utf-8")
    except OSError as error:
        raise InputError(f"cannot read {page}: {error.strerror or error}") from error
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise InputError(f"{page}: no place for it; put {begin} and {end} on lines of their own where the table should go")
    store.write_file(page, f"{before}{begin}\n{content.strip()}\n{end}{after}".encode())
