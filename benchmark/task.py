"""What a task is: a domain, and whether some of its documents or all of it must go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.corpus import GENERAL

REQUEST = "request"
"""Name and domain of the task that a user's own removal request is."""


@dataclass(frozen=True)
class Task:
    """One question put to every method. A task plugin is a module that defines some of these.

    `removes="documents"` asks for some documents of the domain to be forgotten and the others kept (the right to be
    forgotten, Yao et al. 2024); `removes="domain"` asks for the whole domain, judged on documents of it that no model
    has seen (removing a capability, Pochinkov & Schoots 2024).
    """

    name: str
    """As typed on the command line."""
    domain: str
    """The domain it forgets from: a folder or file of the corpus."""
    removes: Literal["documents", "domain"]
    """What is forgotten."""
    description: str
    """One line for `bench list tasks`."""
    corpus: Path
    """Folder of the bundled text, used unless `--data` names another."""
    general_domains: tuple[str, ...] = (GENERAL,)
    """Domains that are general text to a domain task, rather than retained."""
    text: str | None = None
    """The named hub text that it is over, given with `--data`; None for the bundled domains and texts that have the same."""
    code: bool = False
    """Whether the text of the domain is source code."""
