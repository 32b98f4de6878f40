"""Which records may stand in one leaderboard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from benchmark.errors import InputError
from benchmark.record import Record

SHOWN = 3


def comparable(records: Iterable[Record]) -> tuple[list[Record], int]:
    """The records to show, and how many older ones they supersede.

    Where a method was edited between runs, the records of its newest version stand.

    Raises:
        InputError: records of different models, data or protocols lie in one folder.
    """
    records = sorted(records, key=lambda record: (record.spec.task, record.spec.method, record.spec.key()))
    if not records:
        raise InputError("there are no records to show; run `bench run` first")
    _check_same("models", records, lambda record: f"{record.spec.model} ({record.spec.model_fingerprint[:12]})")
    _check_same("protocols", records, lambda record: record.spec.protocol.model_dump_json())
    for task in sorted({record.spec.task for record in records}):
        of_task = [record for record in records if record.spec.task == task]
        _check_same(f"data for {task}", of_task, lambda record: record.spec.data_fingerprint[:12])
    newest: dict[str, Record] = {}
    for record in records:
        known = newest.setdefault(record.spec.method, record)
        if record.environment.time > known.environment.time:
            newest[record.spec.method] = record
    kept = [record for record in records if record.spec.source == newest[record.spec.method].spec.source]
    return kept, len(records) - len(kept)


def _check_same(what: str, records: Iterable[Record], identity: Callable[[Record], str]) -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for record in records:
        found[identity(record)].append(f"{record.spec.task}--{record.spec.method}--{record.spec.key()}")
    if len(found) < 2:
        return
    told = "; ".join(f"{name}: {_few(names)}" for name, names in sorted(found.items(), key=lambda item: len(item[1])))
    raise InputError(f"records of different {what} cannot stand in one leaderboard: {told}; move one kind to a folder of its own")


def _few(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
