"""The pieces of a document: plain text, to be dressed as Markdown, HTML or a terminal's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells as text. The first two columns are flush left and the others right; all left if they are prose."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    prose: bool = False

    @property
    def flush_left(self) -> tuple[bool, ...]:
        """By column."""
        return tuple(self.prose or index < 2 for index in range(len(self.header)))


@dataclass(frozen=True)
class Fold:
    """What is shown only when it is asked for, at the end of a section."""

    title: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Section:
    """A heading and what follows it, in this order."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    """Labelled sentences."""
    tables: tuple[Table, ...] = ()
    figure: str | None = None
    """Name of a file in `figures`, without its ending."""
    folds: tuple[Fold, ...] = ()
