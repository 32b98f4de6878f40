"""What the document says of one task: scores, operating points and cost, a table each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmark.leaderboard import Board, formats
from benchmark.leaderboard.legend import task_rules
from benchmark.leaderboard.panel_section import panel_folds
from benchmark.leaderboard.rows import SETS, Expense, Row
from benchmark.leaderboard.section import Section, Table
from benchmark.leaderboard.task_table import Ranked, TaskTable


class Column(NamedTuple):
    """A heading and what stands below it."""

    title: str
    cell: Callable[[Row], str]


def task_section(board: Board, table: TaskTable) -> Section:
    """One task's rules, tables and figure."""
    shown = [ranked for ranked in table.rows if ranked.row.status == "ok"]
    tables = (
        _table("Scores", _score_columns(board, table, shown), shown),
        _table("Operating points, on test", _point_columns(board, shown), shown),
        _table(f"Cost, up to the operating point at {formats.budget(board.budget)}", _cost_columns(shown), shown),
    )
    return Section(table.task, task_rules(board, table), tables if shown else (), table.figure, panel_folds(board, table))


def _table(caption: str, columns: Sequence[Column], shown: Sequence[Ranked]) -> Table:
    rows = tuple((formats.rank(ranked.rank), _name(ranked.row), *(column.cell(ranked.row) for column in columns)) for ranked in shown)
    return Table(caption, ("#", "method", *(column.title for column in columns)), rows)


def _name(row: Row) -> str:
    several = [f"{len(seeds)} {what}" for seeds, what in ((row.target_seeds, "target seeds"), (row.seeds, "seeds")) if len(seeds) > 1]
    return ", ".join((row.name, " x ".join(several))) if several else row.name


def _score_columns(board: Board, table: TaskTable, shown: Sequence[Ranked]) -> list[Column]:
    columns = []
    if table.unscored is None:
        ranks = {ranked.row.label: ranked.rank for ranked in shown}
        columns.append(Column("rank interval", lambda row: formats.rank_interval(ranks[row.label])))
        columns += [Column(f"score at {formats.budget(budget)}", _score_cell(index)) for index, budget in enumerate(board.protocol.budgets)]
        columns.append(Column("area (validation)", lambda row: formats.number(row.area)))
    columns.append(Column("JS distance", lambda row: formats.number(row.divergence, 3)))
    if table.removes == "domain":
        columns.append(Column("max difference (validation)", lambda row: formats.number(row.max_difference)))
    return columns


def _point_columns(board: Board, shown: Sequence[Ranked]) -> list[Column]:
    columns = []
    for index, budget in enumerate(board.protocol.budgets):
        columns += [Column(f"damage at {formats.budget(budget)}", _damage_cell(index)), Column("step", _step_cell(index))]
    measured = [name for name in SETS if any(name in ranked.row.top1 for ranked in shown)]
    return [*columns, *(Column(f"top-1 {name}", _top1_cell(name)) for name in measured)]


def _score_cell(index: int) -> Callable[[Row], str]:
    return lambda row: formats.interval(row.points[index].score) + row.points[index].mark


def _damage_cell(index: int) -> Callable[[Row], str]:
    return lambda row: formats.percent(row.points[index].damage)


def _step_cell(index: int) -> Callable[[Row], str]:
    return lambda row: formats.DASH if row.is_reference else f"{row.points[index].step:g}"


def _top1_cell(name: str) -> Callable[[Row], str]:
    return lambda row: formats.percent(row.top1.get(name))


def _cost_columns(shown: Sequence[Ranked]) -> list[Column]:
    def column(title: str, cell: Callable[[Expense], str]) -> Column:
        return Column(title, lambda row: formats.DASH if row.expense is None else cell(row.expense))

    columns = [
        column("FLOPs", lambda expense: formats.count(expense.flops)),
        column("against retraining", lambda expense: formats.against_retraining(expense.flops, expense.retraining_flops)),
        column("forward tokens", lambda expense: formats.count(expense.forward_tokens)),
        column("backward tokens", lambda expense: formats.count(expense.backward_tokens)),
        column("seconds", lambda expense: formats.seconds(expense.seconds)),
        column("CPU seconds", lambda expense: formats.seconds(expense.cpu_seconds)),
        column("peak memory", lambda expense: formats.memory(expense.peak_memory)),
        column("parameters changed", lambda expense: formats.count(expense.parameters_changed)),
    ]
    if any(ranked.row.expense and ranked.row.expense.prepare_seconds for ranked in shown):
        columns.append(column("prepare FLOPs", lambda expense: formats.count(expense.prepare_flops)))
        columns.append(column("prepare seconds", lambda expense: formats.seconds(expense.prepare_seconds)))
    return columns
