"""The leaderboard: a pure function of records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.comparison import Comparison
from benchmark.errors import InputError
from benchmark.leaderboard.comparable import comparable
from benchmark.leaderboard.overall import OverallRow, overall
from benchmark.leaderboard.panel import TaskPanel, task_panel
from benchmark.leaderboard.rows import Row as Row
from benchmark.leaderboard.rows import rows as rows
from benchmark.leaderboard.task_table import TaskTable, task_table
from benchmark.leaderboard.tuning import Sweep, sweep_tuning
from benchmark.leaderboard.utility import UtilityTable, utility_tables
from benchmark.record import Environment, Protocol, Record


@dataclass(frozen=True)
class Board:
    """Everything that is published."""

    model: str
    model_fingerprints: Mapping[int, str]
    """Of each training of it, by target seed."""
    protocol: Protocol
    tasks: tuple[TaskTable, ...]
    """Document tasks, then domain tasks."""
    overall: tuple[OverallRow, ...]
    comparisons: tuple[Comparison, ...]
    """Of every pair of ranked methods, by their means over the tasks."""
    score_floor: float
    """Differences in mean score up to this are none."""
    environments: tuple[Environment, ...]
    """One of each kind: they differ in more than time."""
    first: str
    last: str
    """When the oldest and the newest record were made."""
    records: int
    superseded: int
    """Records of older versions of a method, not shown."""
    utility: tuple[UtilityTable, ...] = ()
    """One a metric of each lm-eval task; none where none was asked for."""
    panels: tuple[TaskPanel, ...] = ()
    """Of the tasks whose records have one."""
    sweep: Sweep | None = None
    """How much tuning matters; None where no trials lie beside the records, or they have no forget scores."""

    @property
    def budget(self) -> float:
        """The headline budget."""
        return self.protocol.budgets[len(self.protocol.budgets) // 2]

    @property
    def scored_tasks(self) -> tuple[TaskTable, ...]:
        """The tasks that means are taken over."""
        return tuple(table for table in self.tasks if table.unscored is None)

    def panel(self, task: str) -> TaskPanel | None:
        """One task's; None where no metric was asked for."""
        return next((panel for panel in self.panels if panel.task == task), None)


def board(records: Iterable[Record], trials: Sequence[Record] = ()) -> Board:
    """Build the leaderboard.

    Args:
        records: what is ranked.
        trials: a sweep's, of the same model.

    Raises:
        InputError: there are no records, they cannot stand together, or a reference row is not where it must be; the trials are of
            another model, or cannot stand together.
    """
    kept, superseded = comparable(records)
    summed = rows(kept)
    removes = {record.spec.task: record.removes for record in kept}
    names = sorted(removes, key=lambda task: (removes[task] == "domain", task))
    tasks = tuple(task_table(name, kept, summed) for name in names)
    times = sorted(record.environment.time for record in kept)
    spec = kept[0].spec
    seeds = sorted({record.spec.target_seed for record in kept})
    summed_up = overall(tasks)
    return Board(
        model=spec.model,
        model_fingerprints={seed: next(r.spec.model_fingerprint for r in kept if r.spec.target_seed == seed) for seed in seeds},
        protocol=spec.protocol,
        tasks=tasks,
        overall=summed_up.rows,
        comparisons=summed_up.comparisons,
        score_floor=summed_up.score_floor,
        environments=_environments(kept),
        first=times[0],
        last=times[-1],
        records=len(kept),
        superseded=superseded,
        utility=utility_tables(kept, summed),
        panels=tuple(panel for table in tasks if (panel := task_panel(table, kept)) is not None),
        sweep=_sweep(trials, spec.model) if trials else None,
    )


def _sweep(trials: Sequence[Record], model: str) -> Sweep | None:
    newest, _ = comparable(trials)
    if newest[0].spec.model != model:
        raise InputError(f"the sweep beside these records is of {newest[0].spec.model}, not of {model}; move it away")
    return sweep_tuning(newest)


def _environments(records: Iterable[Record]) -> tuple[Environment, ...]:
    """The distinct ones, each at its earliest."""
    found: dict[str, Environment] = {}
    for environment in sorted((record.environment for record in records), key=lambda environment: environment.time):
        found.setdefault(environment.model_dump_json(exclude={"time"}), environment)
    return tuple(found[key] for key in sorted(found))
