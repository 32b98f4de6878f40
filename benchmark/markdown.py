"""The document as GitHub-flavoured Markdown that is readable raw as well."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tabulate import tabulate

from benchmark.section import Section, Table


def markdown(model: str, sections: Iterable[Section]) -> str:
    """The whole page."""
    return f"# Unlearning leaderboard: {_escape(model)}\n\n" + "\n".join(_section(section) for section in sections)


def _section(section: Section) -> str:
    parts = [f"## {_escape(section.title)}\n"]
    if section.facts:
        parts.append("".join(f"- **{_escape(label)}**: {_escape(sentence)}\n" for label, sentence in section.facts))
    for table in section.tables:
        parts += ([f"**{_escape(table.caption)}**\n"] if table.caption else []) + [_table(table)]
    if section.figure:
        parts.append(f"![{_escape(section.title)}](figures/{section.figure}.svg)\n")
    return "\n".join(parts)


def _table(table: Table) -> str:
    rows = [[_escape(cell) for cell in row] for row in table.rows]
    alignment = ["left" if left else "right" for left in table.flush_left]
    header = [_escape(title) for title in table.header]
    return tabulate(rows, header, tablefmt="pipe", colalign=alignment, disable_numparse=True) + "\n"


def _escape(text: str) -> str:
    """One line of text that Markdown shows as it is; `code` stays code."""
    text = " ".join(text.split())
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part.replace("|", r"\|") if index % 2 else re.sub(r"([\\*_<>\[\]|])", r"\\\1", part) for index, part in enumerate(parts))
