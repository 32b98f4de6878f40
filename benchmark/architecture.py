"""Where each model family keeps its neurons and heads."""

from __future__ import annotations


class Architecture: ...


def architecture_of(model: object) -> Architecture:
    raise NotImplementedError
