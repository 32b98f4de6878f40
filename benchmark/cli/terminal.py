"""What the commands have in common: where they print, how they end, and options of several of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True, highlight=False)

Plugins = Annotated[
    list[Path],
    typer.Option(
        "--plugin", help="Python file with more methods, tasks or metrics, or a folder of such; may be repeated.", show_default=False
    ),
]


def names(text: str) -> list[str]:
    """The names in an option that takes several, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def warn_of_broken_plugins() -> None:
    """Say which installed plugins could not be imported."""
    from benchmark import registry

    for name, reason in registry.broken().items():
        err.print(f"bench: warning: plugin {name} cannot be imported: {reason}", markup=False, soft_wrap=True)


def say_fallbacks(folder: Path) -> None:
    """Say which of a results folder's hub texts are not from the source that was intended."""
    from benchmark.text import manifest
    from benchmark.text.sources import texts

    for text in texts():
        found = manifest.read(folder, text)
        for line in found.fallbacks().values() if found else ():
            err.print(f"bench: {line}", markup=False, soft_wrap=True)
