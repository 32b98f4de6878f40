"""Registering methods and finding plugins: what is refused, and that one broken plugin does not take the others with it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmark import LanguageModel, Request, Task, UnlearningMethod, register, registry
from benchmark.describe import describe_fields
from benchmark.errors import InputError

PLUGIN = """
from collections.abc import Iterator
from dataclasses import dataclass

from benchmark import LanguageModel, Request, UnlearningMethod, register


@register("{name}")
@dataclass(frozen=True)
class Nothing(UnlearningMethod):
    \"\"\"Do nothing at all.

    Not even slowly.
    \"\"\"

    rate: float = 0.5
    \"\"\"How little
    is done.\"\"\"

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        yield
"""


@dataclass(frozen=True)
class Idle(UnlearningMethod):
    """Idle for some steps."""

    steps: int = 3
    """How many."""
    kind: str = "plain"

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        yield


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test registers is gone after it."""
    registry.methods()
    for name in ("_methods", "_tasks", "_broken", "_plugins"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


def test_a_class_may_be_several_rows() -> None:
    register("idle-b", steps=5, kind="odd")(Idle)
    register("idle-a")(Idle)
    found = registry.methods()
    assert [name for name in found if name.startswith("idle")] == ["idle-a", "idle-b"]
    assert (found["idle-a"].build(), found["idle-b"].build()) == (Idle(), Idle(5, "odd"))
    assert found["idle-b"].build({"steps": 9}) == Idle(9, "odd")
    assert found["idle-a"].summary == "Idle for some steps."
    assert found["idle-b"].summary == "Idle for some steps. [steps=5, kind=odd]"
    assert found["idle-a"].origin == f"{__file__}:{inspect.getsourcelines(Idle)[1]}"


def test_a_method_is_a_frozen_dataclass() -> None:
    class Plain(UnlearningMethod):
        pass

    @dataclass
    class Thawed(UnlearningMethod):
        pass

    class Inherits(Idle):
        more: int = 0

    for cls in (Plain, Thawed, Inherits):
        with pytest.raises(ValueError, match=rf"^method 'x': {cls.__name__} must be a frozen dataclass \(put @dataclass"):
            register("x")(cls)


def test_a_method_is_a_method() -> None:
    @dataclass(frozen=True)
    class Other:
        steps: int = 3

    with pytest.raises(ValueError, match=r"^method 'x': Other must be a subclass of UnlearningMethod$"):
        register("x")(Other)  # type: ignore[type-var]


def test_presets_are_fields() -> None:
    with pytest.raises(ValueError, match=r"^method 'x': Idle has no field \['stesp'\]; it has \['kind', 'steps'\]$"):
        register("x", stesp=3)(Idle)


def test_every_field_has_a_value() -> None:
    @dataclass(frozen=True)
    class Bare(UnlearningMethod):
        rate: float
        names: str = field(default_factory=str)

    with pytest.raises(ValueError, match=r"^method 'x': Bare has no default for \['rate'\]; give one, or preset it in @register$"):
        register("x")(Bare)
    register("x", rate=0.5)(Bare)


def test_a_taken_name_names_its_owner() -> None:
    register("idle")(Idle)
    with pytest.raises(ValueError, match="is already registered by ") as caught:
        register("idle", steps=2)(Idle)
    assert f"{__file__}:{inspect.getsourcelines(Idle)[1]}; choose another name" in str(caught.value)
    assert registry.method("idle").build() == Idle()


@pytest.mark.parametrize("name", ["original", "retrained", "all"])
def test_reserved_names(name: str) -> None:
    with pytest.raises(ValueError, match=f"^method name '{name}' is reserved; choose another$"):
        register(name)(Idle)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(InputError, match=r"^unknown method 'gradient-asent'; did you mean 'gradient-ascent'\?$"):
        registry.method("gradient-asent")
    with pytest.raises(InputError, match=r"^unknown task 'arvix'; did you mean 'arxiv'\?$"):
        registry.task("arvix")
    with pytest.raises(InputError, match=r"^unknown task '0'; known: arxiv, arxiv-domain, books"):
        registry.task("0")


def test_the_bundled_tasks_are_found_document_tasks_first() -> None:
    assert list(registry.tasks()) == ["arxiv", "books", "github", "arxiv-domain", "books-domain", "github-domain"]
    assert registry.broken() == {}


def test_a_plugin_file_is_imported_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(name="nothing"))
    assert registry.load_plugin(file) == ["nothing"]
    assert registry.load_plugin(tmp_path / "." / "mine.py") == ["nothing"]
    entry = registry.method("nothing")
    assert entry.origin == f"{file}:8"
    (described,) = describe_fields(entry)
    assert (described.name, described.type, described.default, described.description) == ("rate", "float", 0.5, "How little is done.")
    before = entry.source_hash()
    file.write_text(PLUGIN.format(name="nothing") + "# edited\n")
    assert entry.source_hash() != before


def test_plugins_of_one_name_in_two_folders(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "method.py").write_text(PLUGIN.format(name=name))
        registry.load_plugin(tmp_path / name / "method.py")
    assert registry.method("one").cls.__module__ != registry.method("two").cls.__module__
    assert registry.method("one").origin == f"{tmp_path / 'one' / 'method.py'}:8"


@pytest.mark.usefixtures("no_plugin_stays")
def test_a_folder_of_plugins(tmp_path: Path) -> None:
    for name in ("second", "first"):
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(name=name))
    assert registry.load_plugin(tmp_path) == ["first", "second"]
    assert registry.load_plugin(tmp_path / "first.py") == ["first"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no plugin file \(\*\.py\) in it"):
        registry.load_plugin(tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def broken(", "cannot be imported: SyntaxError: "),
        ("raise ValueError('first\\nsecond')", "cannot be imported: ValueError: first"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        (PLUGIN.format(name="gradient-ascent"), "cannot be imported: ValueError: method 'gradient-ascent' is already registered by "),
        ("x = 1", "registers no method, task or metric; decorate the class of a method with @register('name')"),
    ],
)
def test_a_plugin_file_that_is_of_no_use(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        registry.load_plugin(file)
    assert str(caught.value).startswith(f"{file}: {said}")
    assert "\n" not in str(caught.value)


def test_a_plugin_file_that_is_not_there_or_not_python(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.py: no such plugin file"):
        registry.load_plugin(tmp_path / "none.py")
    (tmp_path / "text").touch()
    with pytest.raises(InputError, match=r"text: not a Python file"):
        registry.load_plugin(tmp_path / "text")


def test_a_metric_is_not_named_like_a_quantity_of_the_headline(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    card = "name='forget_score', axis='utility', summary='', unit='', low=None, high=None, knows='neither', source='', measure=print"
    file.write_text(f"from benchmark import Metric\nMINE = Metric({card})\n")
    with pytest.raises(InputError, match=r"metric 'forget_score' of .* is named like a quantity of the headline; choose another name"):
        registry.load_plugin(file)


def test_a_plugin_file_may_bring_tasks(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    task = "from pathlib import Path\nfrom benchmark import Task\nMINE = Task('{}', 'mine', 'documents', 'forget mine', Path('data'))\n"
    file.write_text(task.format("mine"))
    assert registry.load_plugin(file) == ["mine"]
    assert registry.task("mine") == Task("mine", "mine", "documents", "forget mine", Path("data"))
    other = tmp_path / "other.py"
    other.write_text(task.format("arxiv"))
    with pytest.raises(InputError, match=r"task 'arxiv' of .* is already defined elsewhere; choose another name"):
        registry.load_plugin(other)


def test_another_distribution_is_found_by_its_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "strangers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a_broken.py").write_text("raise RuntimeError('first\\nsecond')")
    (package / "b_exits.py").write_text("import sys; sys.exit('bye')")
    (package / "c_good.py").write_text(PLUGIN.format(name="strangers-own"))
    information = tmp_path / "strangers-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{registry.GROUP}]\nabsent = strangers_absent\nall = strangers\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_discovered", False)
    assert registry.method("strangers-own").summary == "Do nothing at all."
    assert "gradient-ascent" in registry.methods()
    assert registry.broken() == {
        "absent = strangers_absent": "ModuleNotFoundError: No module named 'strangers_absent'",
        "strangers.a_broken": "RuntimeError: first",
        "strangers.b_exits": "SystemExit: bye",
    }


def test_fields_are_described_with_the_row_s_own_presets_and_inherited_words() -> None:
    @dataclass(frozen=True)
    class Busy(Idle):
        """Busy."""

        more: int | None = None
        """Besides."""

    register("busy", steps=7)(Busy)
    described = [(f.name, f.type, f.default, f.description) for f in describe_fields(registry.method("busy"))]
    assert described == [("steps", "int", 7, "How many."), ("kind", "str", "plain", ""), ("more", "int | None", None, "Besides.")]
