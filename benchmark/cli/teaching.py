"""Options of `bench run` and `bench sweep` that say whether documents are taught first, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchmark.errors import InputError, unknown_name

if TYPE_CHECKING:
    from benchmark.cell import Cell
    from benchmark.implant import Recipe

SettingOption = Annotated[
    Literal["implanted", "pretrained"] | None,
    typer.Option(
        "--setting",
        help="implanted: documents are taught to the model first, and the reference is exact; pretrained: it knows them already"
        " [default: implanted where documents must go, pretrained where a domain must].",
        show_default=False,
    ),
]

TeachOption = Annotated[
    list[str],
    typer.Option(
        "--teach", metavar="FIELD=VALUE", help="Change how documents are taught: epochs, lr or batch. Repeatable.", show_default=False
    ),
]

QUICK_STEPS = 8
"""Optimiser steps of teaching with `--quick`."""


def recipe(changes: Sequence[str], quick: bool) -> Recipe:
    """How documents are taught.

    Raises:
        InputError: a change has another form, names no field, or is no value of it.
    """
    import dataclasses
    import typing

    from benchmark.implant import Recipe
    from benchmark.plan import parse

    kinds = typing.get_type_hints(Recipe)
    given: dict[str, typing.Any] = {"max_steps": QUICK_STEPS} if quick else {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--teach {change}: expected field=value, as in lr=1e-4")
        if name not in kinds:
            raise unknown_name("field in --teach", name, kinds)
        given[name] = parse(kinds[name], text, where=f"--teach {change}")
    try:
        return dataclasses.replace(Recipe(), **given)
    except ValueError as error:
        raise InputError(f"--teach: {error}") from None


def check_heeded(changes: Sequence[str], cells: Sequence[Cell]) -> None:
    """See that changes to teaching change something.

    Raises:
        InputError: no cell needs anything taught.
    """
    if changes and not any(cell.teaching for cell in cells):
        settings = " or ".join(sorted({cell.spec.setting for cell in cells}))
        raise InputError(f"--teach {changes[0]}: nothing is taught in the {settings} setting; leave it out, or say --setting implanted")
