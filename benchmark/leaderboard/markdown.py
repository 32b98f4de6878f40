"""The document as GitHub-flavoured Markdown that is readable raw as well."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tabulate import tabulate

from benchmark.leaderboard.section import Section, Table

SPECIAL = re.compile(r"[\\*<>`]|\b_|_\b|(?<=\])\(")
"""What Markdown would take for markup; an underscore within a word it would not."""


def markdown(model: str, sections: Iterable[Section]) -> str:
    """The whole page."""
    return f"# Unlearning leaderboard: {_escape(model)}\n\n" + "\n".join(_section(section) for section in sections)


def _section(section: Section) -> str:
    parts = [f"## {_escape(section.title)}\n"]
    if section.facts:
        parts.append("".join(f"- **{_escape(label)}**: {_escape(sentence)}\n" for label, sentence in section.facts))
    for table in section.tables:
        parts += ([f"**{_escape(table.caption)}**\n"] if table.caption else []) + [table_text(table)]
    if section.figure:
        parts.append(f"![{_escape(section.title)}](figures/{section.figure}.svg)\n")
    return "\n".join(parts)


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
