"""What the document says of who pays for the forgetting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.leaderboard import formats
from benchmark.leaderboard.harm import BINS, SIMILARITY, Harm, harms
from benchmark.leaderboard.section import Section, Table

if TYPE_CHECKING:
    from benchmark.leaderboard import Board

BEST = 6
"""Methods whose damage by domain is shown."""

BY_DOMAIN = "harm-by-domain"
BY_SIMILARITY = "harm-by-similarity"
"""Names of the figures."""


def best(board: Board) -> tuple[Harm, ...]:
    """The methods shown by domain: those that stand first, among them all controls that are no worse."""
    found = harms(board.panels, [row.label for row in board.overall if not row.is_reference])
    return tuple(harm for harm in found if harm.by_domain)[:BEST]


def by_similarity(board: Board) -> dict[str, dict[str, float]]:
    """Mean damage in each third of the kept documents, by the label of the method."""
    tasks = similarity_tasks(board)
    found = harms(board.panels, [row.label for row in board.overall if not row.is_reference])
    return {harm.label: mean for harm in found if (mean := harm.mean_by_similarity(tasks)) is not None}


def similarity_tasks(board: Board) -> list[str]:
    """The tasks that those means are over."""
    return [panel.task for panel in board.panels if SIMILARITY in panel.metrics]


def harm_sections(board: Board) -> tuple[Section, ...]:
    """By domain and by similarity; nothing where it was not measured."""
    return (*_by_domain(board), *_by_similarity(board))


def _by_domain(board: Board) -> tuple[Section, ...]:
    shown = best(board)
    if not shown:
        return ()
    names = {row.label: row.name for row in board.overall}
    domains = sorted({domain for harm in shown for of in harm.by_domain.values() for domain in of})
    rows = tuple(
        (names[harm.label], task, *(formats.percent(of.get(domain)) for domain in domains))
        for harm in shown
        for task, of in harm.by_domain.items()
    )
    what = (
        "forget the text of the row's task, harm the domain of the column: the perplexity rise of its kept documents over the worse"
        f" of target and reference, at the {formats.budget(board.budget)} point, on test. Shown are the {len(shown)} methods"
        " that stand first; the panels of the tasks have all."
    )
    table = Table("", ("method", "forget", *domains), rows)
    return (Section("Who pays, by domain", (("What this is", what),), (table,), BY_DOMAIN),)


def _by_similarity(board: Board) -> tuple[Section, ...]:
    means = by_similarity(board)
    if not means:
        return ()
    heads = {row.label: (formats.rank(row.rank), row.name) for row in board.overall}
    rows = tuple((*heads[label], *(formats.percent(mean[name]) for name in BINS)) for label, mean in means.items())
    what = (
        "the same of the kept documents in thirds, by how much wording they share with the forget set"
        f" (`bench show {SIMILARITY}`); means over {', '.join(similarity_tasks(board))}."
    )
    return (Section("Who pays, by similarity", (("What this is", what),), (Table("", ("#", "method", *BINS), rows),), BY_SIMILARITY),)
