"""Which records may stand in one leaderboard."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.alike import check_alike
from benchmark.errors import InputError
from benchmark.leaderboard.floor import with_one_floor
from benchmark.record import Record


def comparable(records: Iterable[Record]) -> tuple[list[Record], int]:
    """The records to show, and how many older ones they supersede.

    Where a method was edited between runs, the records of its newest version stand. All of a task have one noise floor.

    Raises:
        InputError: records of different models, data or protocols lie in one folder.
    """
    records = sorted(records, key=lambda record: (record.spec.task, record.spec.method, record.spec.key()))
    if not records:
        raise InputError("there are no records to show; run `bench run` first")
    check_alike([record.spec for record in records], "move one kind to a folder of its own")
    newest: dict[str, Record] = {}
    for record in records:
        known = newest.setdefault(record.spec.method, record)
        if record.environment.time > known.environment.time:
            newest[record.spec.method] = record
    kept = [record for record in records if record.spec.source == newest[record.spec.method].spec.source]
    return with_one_floor(kept), len(records) - len(kept)
