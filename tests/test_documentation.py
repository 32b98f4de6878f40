"""What the documentation says to type works as written."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.main import get_command

from benchmark import LanguageModel, Request, new_method, registry
from benchmark.check.suite import CHECKS
from benchmark.cli import USAGE, app

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "results").glob("**/README.md")))]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def commands(page: str) -> list[str]:
    """What is to be typed, in code blocks and between backticks; of a loop in the shell, what it echoes once."""
    page = re.sub(r"\$\(for .*? echo (.*?); done\)", r"\1", re.sub(r"\\\n\s*", " ", page))
    spans = re.findall(r"`([^`\n]*(?:\n[^`\n]+)?)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    fenced = [line for block in re.findall(r"```\w*\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    indented = [line for line in page.splitlines() if line.startswith("    ") and "`" not in line]
    found = (re.search(r"\bbench [a-z].*", " ".join(text.split("\n"))) for text in (*spans, *fenced, *indented))
    return list(dict.fromkeys(match[0] for match in found if match))


def refused(command: str) -> str | None:
    """What the command line has against it, None if nothing; a command named without anything behind it need only be there."""
    words = shlex.split(command, comments=True)[1:]
    found: Any = get_command(app)
    while words and hasattr(found, "commands"):
        if words[0] not in found.commands:
            return f"No such command {words[0]!r}"
        found = found.commands[words.pop(0)]
    if not words:
        return None
    try:
        found.make_context("bench", words)
    except USAGE as error:
        return error.format_message()  # type: ignore[attr-defined, no-any-return]
    return None


def test_the_method_in_contributing_works_as_written(
    tmp_path: Path,
    tiny_lm: Callable[..., LanguageModel],
    request_for: Callable[..., Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = re.search(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
    assert block is not None
    assert block[1] == new_method.source("my-method"), "what `bench new-method my-method` writes"
    assert len(block[1].splitlines()) <= 40
    monkeypatch.setattr(registry, "_methods", dict(registry.methods()))
    file = tmp_path / "my_method.py"
    file.write_text(block[1], "utf-8")
    assert registry.load_plugin(file) == ["my-method"]
    lm = tiny_lm()
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    steps = list(itertools.islice(registry.method("my-method").build().unlearn(lm, request_for(lm)), 2))
    assert len(steps) == 2
    assert any(not torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())


def test_contributing_says_what_every_check_asks() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \|$", CONTRIBUTING, re.MULTILINE)
    assert rows == [(check.name, check.asks) for check in CHECKS]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_named_can_be_run(page: str) -> None:
    found = commands((ROOT / page).read_text("utf-8"))
    assert found
    assert {command: said for command in found if (said := refused(command)) is not None} == {}


def test_commands_are_found_wherever_they_stand() -> None:
    page = """
Type `bench run --quick` or `bench
list tasks` / `models`.

```
pip install . && bench run --methods all  # everything
```

    A=b bench run --set npo.lr=1 \\
        $(for m in $all; do echo --grid $m.lr=1 --set $m.steps=2; done) \\
        --out here
"""
    assert commands(page) == [
        "bench run --quick",
        "bench list tasks",
        "bench run --methods all  # everything",
        "bench run --set npo.lr=1  --grid $m.lr=1 --set $m.steps=2  --out here",
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("bench run --metrics all", "No such option"),
        ("bench rum --methods all", "No such command"),
        ("bench rum", "No such command"),
        ("bench lab", None),
        ("bench lab trian --seeds 2", "No such command"),
        ("bench lab train --seeds two", "Invalid value for '--seeds'"),
        ("bench list method", "Invalid value for"),
        ("bench show npo ascent", "Got unexpected extra argument"),
        ("bench run --methods", "requires an argument"),
        ("bench show", None),
        ("bench show npo  # what it does", None),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(command: str, said: str | None) -> None:
    found = refused(command)
    assert found is None if said is None else found is not None and said in found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), f"{page} links to {target}, which is not there"
