"""The document as one HTML file that needs nothing else: no network, no script, figures inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from html import escape

from benchmark.leaderboard.section import Fold, Section, Table

STYLE = """
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 92rem; padding: 0 1rem; color: #1a1a1a; background: #fff; font: 16px/1.5 system-ui, sans-serif; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid #ccc; }
nav a { margin-right: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; font-size: .9rem; }
dt { font-weight: 600; }
dd { margin: 0; max-width: 60rem; }
.wide { overflow-x: auto; }
table { margin: 1rem 0; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { padding: .25rem 0; font-weight: 600; text-align: left; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #666; vertical-align: bottom; }
td { border-bottom: 1px solid #e2e2e2; }
tbody tr:hover { background: #f4f4f4; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
.left { text-align: left; }
.prose { white-space: normal; overflow-wrap: anywhere; }
img { width: 100%; max-width: 70rem; height: auto; }
code { background: #f2f2f2; padding: 0 .2em; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
""".strip()


def html(model: str, sections: Iterable[Section], figures: Mapping[str, bytes]) -> str:
    """The whole page; `figures` are files by name, of which the SVG ones are put in."""
    sections = list(sections)
    title = f"Unlearning leaderboard: {escape(model)}"
    links = "".join(f'<a href="#{_anchor(section.title)}">{escape(section.title)}</a>\n' for section in sections)
    body = "".join(_section(section, figures) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n<nav>\n{links}</nav>\n{body}</body>\n</html>\n"
    )


def _section(section: Section, figures: Mapping[str, bytes]) -> str:
    parts = [f'<section id="{_anchor(section.title)}">\n<h2>{escape(section.title)}</h2>\n']
    parts += [_facts(section.facts)]
    parts += [_table(table) for table in section.tables]
    image = figures.get(f"{section.figure}.svg")
    if image is not None:
        source = base64.b64encode(image).decode()
        parts.append(f'<img alt="Figure: {escape(section.title)}" src="data:image/svg+xml;base64,{source}">\n')
    parts += [_fold(fold) for fold in section.folds]
    return "".join(parts) + "</section>\n"


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    told = "".join(f"<dt>{_text(label)}</dt><dd>{_text(sentence)}</dd>\n" for label, sentence in facts)
    return f"<dl>\n{told}</dl>\n" if told else ""


def _fold(fold: Fold) -> str:
    return f"<details>\n<summary>{escape(fold.title)}</summary>\n{_facts(fold.facts)}{''.join(map(_table, fold.tables))}</details>\n"


def _table(table: Table) -> str:
    look = " prose" if table.prose else ""
    kinds = [f' class="left{look}"' if left else "" for left in table.flush_left]
    head = "".join(f"<th{kind}>{escape(title)}</th>" for kind, title in zip(kinds, table.header, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{kind}>{_text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>\n" for row in table.rows
    )
    caption = f"<caption>{escape(table.caption)}</caption>\n" if table.caption else ""
    return f'<div class="wide"><table>\n{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n'


def _text(text: str) -> str:
    """Escaped, with `code` marked."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _anchor(title: str) -> str:
    return re.sub(r"[^\w-]+", "-", title.lower())
