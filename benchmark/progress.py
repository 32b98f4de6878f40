"""Showing a run: live on a terminal, one line a cell in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmark.executors import Event, Finished, Started, Stepped, Taught

if TYPE_CHECKING:
    from benchmark.cell import Cell


@contextmanager
def shown(total: int, console: Console, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """Give a function that shows the events of a run of `total` cells."""
    if quiet:
        yield lambda event: None
    elif console.is_terminal:
        with _live(total, console) as show:
            yield show
    else:
        yield _plain(total, console)


@contextmanager
def _live(total: int, console: Console) -> Iterator[Callable[[Event], None]]:
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        cells = progress.add_task("", total=total)
        running: dict[str, str] = {}

        def show(event: Event) -> None:
            if isinstance(event, Taught):
                progress.update(cells, description=taught(event))
                return
            key, name = event.cell.spec.key(), title(event.cell)
            if isinstance(event, Started):
                running[key] = name
            elif isinstance(event, Stepped):
                running[key] = f"{name} (step {event.step})"
            elif isinstance(event, Finished):
                del running[key]
                progress.advance(cells)
                if event.death:
                    progress.console.print(f"{name}: failed: {event.death}", markup=False, highlight=False, soft_wrap=True)
            progress.update(cells, description=", ".join(running.values()))

        yield show


def _plain(total: int, console: Console) -> Callable[[Event], None]:
    begun = time.monotonic()
    done = 0

    def show(event: Event) -> None:
        nonlocal begun, done
        if isinstance(event, Taught):
            begun = time.monotonic()  # what is left is told by the cells alone
            if at_tenth(event.step, event.steps):
                console.print(taught(event), markup=False, highlight=False, soft_wrap=True)
        if not isinstance(event, Finished):
            return
        done += 1
        elapsed = time.monotonic() - begun
        left = elapsed / done * (total - done)
        outcome = f"failed: {event.death}" if event.death else "done"
        console.print(
            f"[{done}/{total}] {title(event.cell)}: {outcome}; {elapsed:.0f} s, about {left:.0f} s left",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    return show


def title(cell: Cell) -> str:
    """`task method`, with the seeds that are not the first."""
    target_seed = f" target seed {cell.spec.target_seed}" if cell.spec.target_seed else ""
    seed = f" seed {cell.spec.seed}" if cell.spec.seed else ""
    return f"{cell.spec.task} {cell.spec.method}{target_seed}{seed}"


def taught(event: Taught) -> str:
    """How far teaching is."""
    return f"teaching {event.name}: step {event.step}/{event.steps}, loss {event.loss:.3f}"


def at_tenth(step: int, steps: int) -> bool:
    """Whether a log tells of this step: at each tenth, rounded to tens, and at the last."""
    return step % max(10, steps // 10 // 10 * 10) == 0 or step == steps


@contextmanager
def counted(total: int, console: Console) -> Iterator[Callable[[str], None]]:
    """Give a function that is told the name of each thing that is done: a bar on a terminal, a line each in a log."""
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}", markup=False), console=console, disable=not console.is_terminal) as bars:
        bar, begun, done = bars.add_task("", total=total), time.monotonic(), 0

        def show(name: str) -> None:
            nonlocal done
            done += 1
            bars.update(bar, completed=done, description=name)
            if not console.is_terminal:
                elapsed = time.monotonic() - begun
                left = elapsed / done * (total - done)
                said = f"[{done}/{total}] {name}; {elapsed:.0f} s, about {left:.0f} s left"
                console.print(said, markup=False, highlight=False, soft_wrap=True)

        yield show


@contextmanager
def training(console: Console) -> Iterator[Callable[[Taught], None]]:
    """Give a function that shows trainings: a bar each on a terminal, a line at each tenth in a log."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        shown: dict[str, TaskID] = {}

        def show(event: Taught) -> None:
            if event.name not in shown:
                shown[event.name] = bars.add_task(event.name, total=event.steps, loss=event.loss)
            bars.update(shown[event.name], completed=event.step, loss=event.loss)
            if not console.is_terminal and at_tenth(event.step, event.steps):
                console.print(f"{event.name}: step {event.step}/{event.steps}, loss {event.loss:.3f}", highlight=False)

        yield show
