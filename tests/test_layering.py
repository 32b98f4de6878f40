"""What may import what, and how code is laid out: read from the syntax, nothing is imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmark

ROOT = Path(__file__).parent.parent
PACKAGES = ("benchmark", "methods", "tasks")
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")) if "corpus" not in file.parts]
LONGEST = 300
METHODS_MAY = {"benchmark", "methods", "torch", *sys.stdlib_module_names}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Every `(module, name)` that is imported anywhere in a file; no name for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)


def definitions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions and classes, and the public methods of those classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield owner + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, f"{owner}{node.name}.")


@pytest.fixture(params=FILES, ids=relative)
def file(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def test_there_is_something_to_look_at() -> None:
    assert all(any(file.is_relative_to(ROOT / package) for file in FILES) for package in PACKAGES)


def test_imports_follow_the_layers(file: Path, tree: ast.Module) -> None:
    package = relative(file).partition("/")[0]
    for module, name in imports(tree):
        top = module.partition(".")[0]
        if package == "benchmark":
            assert top not in ("methods", "tasks"), f"{file}: the harness knows no method and no task"
        else:
            assert top != ("tasks" if package == "methods" else "methods"), f"{file}: methods and tasks do not know each other"
            if top == "benchmark":
                assert module == "benchmark", f"{file}: a plugin imports from `benchmark` itself, not from {module}"
                assert name in benchmark.__all__, f"{file}: {name} is not public"
        if package == "methods":
            assert top in METHODS_MAY, f"{file}: a method needs no {top}"


def test_what_is_public_is_documented(file: Path, tree: ast.Module) -> None:
    overridden = {"__post_init__"}
    bare = [name for name, node in definitions(tree.body) if name not in overridden and not ast.get_docstring(node)]
    assert bare == []


def test_modules_say_what_they_are(file: Path, tree: ast.Module) -> None:
    if file.read_text("utf-8").strip():
        assert ast.get_docstring(tree)


def test_files_are_short(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= LONGEST


def test_no_module_is_a_drawer_for_odds_and_ends(file: Path) -> None:
    assert file.stem not in ("utils", "util", "helpers", "common", "misc")


def test_everything_public_can_be_had() -> None:
    assert all(getattr(benchmark, name) is not None for name in benchmark.__all__)
    with pytest.raises(AttributeError, match="module 'benchmark' has no attribute 'nothing'"):
        benchmark.nothing  # noqa: B018
