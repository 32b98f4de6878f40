"""Hyper-parameters and metrics as a reader sees them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

from benchmark.headline import AXIS, HeadlineQuantity
from benchmark.panel.metric import Metric
from benchmark.record import Scalar
from benchmark.registry import MethodEntry


@dataclass(frozen=True)
class Field:
    """One hyper-parameter of a row of the board."""

    name: str
    type: str
    default: Scalar
    description: str


def describe_fields(entry: MethodEntry) -> list[Field]:
    """The hyper-parameters of a method in the order they are declared, with the row's own presets as defaults."""
    documented: dict[str, str] = {}
    for base in reversed(entry.cls.__mro__):
        if dataclasses.is_dataclass(base):
            documented |= _docstrings(base)
    built = entry.build()
    return [
        Field(field.name, _type_name(field.type), getattr(built, field.name), documented.get(field.name, ""))
        for field in dataclasses.fields(built)  # type: ignore[arg-type]
    ]


def _type_name(kind: object) -> str:
    if get_origin(kind) is Literal:
        return " | ".join(map(str, get_args(kind)))
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind).replace("typing.", ""))


def _docstrings(cls: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = " ".join(str(following.value.value).split())
    return found


def card(metric: Metric) -> list[str]:
    """A metric as a reader sees it, a line each."""
    measured = "measured by default" if metric.core else "with --panel full"
    head = f"{metric.name}  ({metric.axis}, {measured}, version {metric.version})"
    lines = _lines(head, inspect.getdoc(metric.measure) or metric.summary, metric, of_text=metric.axis == "validity")
    return lines + ([f"differs: {metric.corrected}"] if metric.corrected else [])


def headline_card(quantity: HeadlineQuantity) -> list[str]:
    """The same of a quantity of the board's headline."""
    ends = (("target", quantity.target), ("reference", quantity.reference))
    constructed = [f"{whose} {value:g}" for whose, value in ends if value is not None]
    lines = _lines(f"{quantity.name}  ({AXIS}, measured of every method, version {quantity.version})", quantity.about, quantity)
    return lines + ([f"by construction: {', '.join(constructed)}"] if constructed else [])


def _lines(head: str, about: str, metric: Metric | HeadlineQuantity, of_text: bool = False) -> list[str]:
    bounds = f"{'unbounded' if metric.low is None else f'{metric.low:g}'} to {'unbounded' if metric.high is None else f'{metric.high:g}'}"
    better = {
        "higher": "higher where the model knows the text; the right value is the reference model's",
        "lower": "lower where the model knows the text; the right value is the reference model's",
        "neither": "says nothing of what the model knows; the right value is the reference model's",
    }
    return [
        head,
        "",
        about,
        "",
        f"unit: {metric.unit}",
        f"range: {bounds}",
        f"direction: {'a property of the text, the same for all models' if of_text else better[metric.knows]}",
        f"source: {metric.source}",
    ]
