"""What the published leaderboard says: overall, task by task, what is not ranked, how to read it."""

from __future__ import annotations

from benchmark.leaderboard import Board, formats
from benchmark.leaderboard.advice import advice_section
from benchmark.leaderboard.harm_section import harm_sections
from benchmark.leaderboard.legend import overall_rules, preamble, reading
from benchmark.leaderboard.overall import OverallRow
from benchmark.leaderboard.panel_section import caught_cell, caught_rule, panel_section
from benchmark.leaderboard.recommendation import Recommendation
from benchmark.leaderboard.rows import Row
from benchmark.leaderboard.section import Section, Table
from benchmark.leaderboard.task_section import task_section
from benchmark.leaderboard.tuning_section import tuning_section
from benchmark.leaderboard.utility_section import utility_section

INSERTION = (
    (
        "What this is",
        "these methods first replace the residual stream by what a codebook or an autoencoder makes of it, and then remove entries. Shown"
        " is their first step, at which nothing has been removed: what is lost here is no forgetting of anything in particular. It counts"
        " in the operating points above, whose damage and forgetting are those of both together.",
    ),
    ("Measured", "on the validation half, against the target model; means over seeds."),
)


def sections(board: Board, recommendation: Recommendation | None = None) -> tuple[Section, ...]:
    """The whole document, in order."""
    figure = "overview" if any(row.rank for row in board.overall) else None
    return (
        *(() if recommendation is None else (advice_section(recommendation),)),
        Section("Overall", (*overall_rules(board), *caught_rule(board)), (overall_table(board),), figure),
        *panel_section(board),
        *harm_sections(board),
        *(task_section(board, table) for table in board.tasks),
        *_insertions(board),
        *utility_section(board),
        *(() if board.sweep is None else (tuning_section(board.sweep),)),
        _unranked(board),
        Section("Measured on", preamble(board)),
        Section("How to read this", reading(board)),
    )


def overall_table(board: Board) -> Table:
    """One row a method."""
    tasks = [table.task for table in board.scored_tasks]
    split = len({table.removes for table in board.scored_tasks}) > 1
    domain = any(table.removes == "domain" for table in board.tasks)
    prepared = any(row.prepare_flops for row in board.overall)
    header = ["#", "method"]
    header += ["rank interval", "mean score"] if tasks else []
    header += ["documents", "domains"] if split else []
    header += tasks
    header += ["max difference"] if domain else []
    header += ["caught"] if board.panels else []

    def cells(row: OverallRow) -> tuple[str, ...]:
        told = [formats.rank(row.rank), row.name]
        told += [formats.rank_interval(row.rank), formats.interval(row.mean) + row.mark] if tasks else []
        told += [formats.number(row.documents_mean), formats.number(row.domain_mean)] if split else []
        told += [formats.number(row.scores[task]) + row.marks[task] for task in tasks]
        told += [formats.number(row.max_difference)] if domain else []
        told += [caught_cell(board, row.label)] if board.panels else []
        told += [formats.count(row.flops), formats.seconds(row.seconds)]
        return (*told, formats.count(row.prepare_flops)) if prepared else tuple(told)

    header += ["FLOPs", "seconds", "prepare FLOPs"] if prepared else ["FLOPs", "seconds"]
    return Table("", tuple(header), tuple(cells(row) for row in board.overall))


def _insertions(board: Board) -> tuple[Section, ...]:
    """What putting a module in costs, a row a task and method that does; nothing where none does."""
    rows = tuple(
        (
            ranked.row.name,
            table.task,
            formats.percent(cost.damage),
            formats.number(cost.forget_rise, 3),
            formats.percent(cost.retain_drop),
        )
        for table in board.tasks
        for ranked in table.rows
        if (cost := ranked.row.insertion) is not None
    )
    if not rows:
        return ()
    header = ("method", "task", "utility damage", "rise of forget NLL", "top-1 drop on retain")
    return (Section("What putting a module in costs, before anything is removed", INSERTION, (Table("", header, rows),)),)


def _unranked(board: Board) -> Section:
    rows = tuple(
        (table.task, ranked.row.name, *_why_unranked(ranked.row))
        for table in board.tasks
        for ranked in table.rows
        if ranked.row.status != "ok" or ranked.row.lacks
    )
    if not rows:
        return Section("Not ranked", (("None", "every cell ran."),))
    return Section("Not ranked", (), (Table("", ("task", "method", "status", "reason"), rows, prose=True),))


def _why_unranked(row: Row) -> tuple[str, str]:
    """Its status, and the reason."""
    if row.status != "ok":
        return row.status, row.reason or "no reason was given"
    others = "other methods have one" if row.missing_target_seeds else "there is one on another target seed"
    return "incomplete", f"{row.lacks}; {others}"
