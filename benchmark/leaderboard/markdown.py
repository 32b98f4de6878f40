"""The document as GitHub-flavoured Markdown that is readable raw as well."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from tabulate import tabulate

from benchmark.leaderboard.section import Fold, Section, Table

SPECIAL = re.compile(r"[\\*<>`]|\b_|_\b|(?<=\])\(")
"""What Markdown would take for markup; an underscore within a word it would not."""


def markdown(model: str, sections: Iterable[Section]) -> str:
    """The whole page."""
    return f"# Unlearning leaderboard: {_escape(model)}\n\n" + "\n".join(section_text(section) for section in sections)


def section_text(section: Section) -> str:
    """A heading, its facts, its tables and its figure."""
    parts = [f"## {_escape(section.title)}\n"]
    parts += _content(section)
    if section.figure:
        parts.append(f"![{_escape(section.title)}](figures/{section.figure}.svg)\n")
    for fold in section.folds:  # the blank lines make what is inside Markdown again
        parts += [f"<details>\n<summary>{escape(fold.title)}</summary>\n", *_content(fold), "</details>\n"]
    return "\n".join(parts)


def _content(of: Section | Fold) -> list[str]:
    parts = ["".join(f"- **{_escape(label)}**: {_escape(sentence)}\n" for label, sentence in of.facts)] if of.facts else []
    for table in of.tables:
        parts += ([f"**{_escape(table.caption)}**\n"] if table.caption else []) + [table_text(table)]
    return parts


def table_text(table: Table) -> str:
    """A GitHub-flavoured table."""
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    alignment = ["left" if left else "right" for left in table.flush_left]
    return tabulate(rows, [_cell(title) for title in table.header], tablefmt="pipe", colalign=alignment, disable_numparse=True) + "\n"


def _cell(text: str) -> str:
    return _escape(text).replace("|", r"\|")


def _escape(text: str) -> str:
    """One line of text that Markdown shows as it is; `code` stays code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if index % 2 else SPECIAL.sub(r"\\\g<0>", part) for index, part in enumerate(parts))
