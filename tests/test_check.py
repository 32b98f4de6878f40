"""The checks of the conformance suite: each catches what it is there for, and says so."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmark import registry
from benchmark.check import report
from benchmark.check.isolation import isolated
from benchmark.check.outcome import Check, Finding, judge
from benchmark.check.plugin import methods_of
from benchmark.check.subjects import FAMILIES, TinyModels
from benchmark.check.suite import CHECKS
from benchmark.check.trial import Trial
from benchmark.errors import InputError

BROKEN = Path(__file__).parent / "broken_methods"

CAUGHT = {
    "declares_badly": {
        "says-nothing": {"docstring", "fields"},
        "names-no-source": {"docstring"},
        "searches-strangers": {"search"},
        "searches-impossible": {"search"},
        "searches-unbuildable": {"search"},
        "declines": set(),
    },
    "does_nothing": {
        "no-op": {"changes-model"},
        "never-yields": {"changes-model", "uses-forget"},
        "wrong-copy": {"changes-model", "uses-forget"},
    },
    "draws_globally": {
        "global-torch": {"seed-decides", "global-generators"},
        "global-numpy": {"seed-decides", "global-generators"},
        "global-python": {"seed-decides", "global-generators"},
        "reseeds": {"global-generators"},
    },
    "hides_state": {
        "steers-by-hook": {"state-dict", "weights-alone"},
        "inserts-in-secret": {"weights-alone"},
        "changes-class": {"weights-alone"},
        "forgets-hook": {"leaves-no-trace"},
        "replaces-forward": {"leaves-no-trace"},
        "trains-on": {"leaves-no-trace"},
        "leaves-gradients": {"leaves-no-trace"},
        "thaws": {"frozen-stays"},
        "unties": {"tied-embeddings", "weights-alone"},
        "low-rank-in-name": {"low-rank"},
    },
    "imports_inside": {"imports-inside": {"public-imports", "evaluation-text"}},
    "misreads_text": {
        "raw-logit-npo": {"softmax-shift"},
        "unmasked-kl": {"padding"},
        "padded-mean": {"padding"},
        "first-window": {"row-order"},
        "ignores-kept": {"uses-kept"},
        "ignores-forget": {"uses-forget"},
        "no-control": {"uses-forget"},
        "needs-general": {"no-general"},
    },
    "peeks": {
        "reads-corpus": {"evaluation-text"},
        "reads-elsewhere": {"evaluation-text"},
        "searches-memory": {"evaluation-text"},
        "walks-frames": {"evaluation-text"},
        "inspects-frames": {"evaluation-text"},
        "walks-traceback": {"evaluation-text"},
    },
}
"""By file and method: exactly the checks that must fail."""


@pytest.fixture
def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered in a test is forgotten afterwards."""
    registry.methods()
    for name in ("_methods", "_tasks", "_broken", "_plugins"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


def found(name: str, models: TinyModels, family: str = "gpt2") -> Iterator[Finding]:
    """What every check finds, on one family that all of them are tried on."""
    trial = Trial(registry.method(name), family, models)
    return (judge(check, trial) for check in CHECKS)


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in CAUGHT.items() for name in names])
def test_a_broken_method_fails_just_the_checks_that_are_meant_for_it(
    file: str, name: str, tiny_models: TinyModels, unregistered: None
) -> None:
    registry.load_plugin(BROKEN / f"{file}.py")
    failed = {finding.check.name: (finding.expected, finding.seen) for finding in found(name, tiny_models) if finding.status == "failed"}
    assert failed.keys() == CAUGHT[file][name], failed


def test_a_method_that_declines_is_skipped(tiny_models: TinyModels, unregistered: None) -> None:
    registry.load_plugin(BROKEN / "declares_badly.py")
    findings = {finding.check.name: finding for finding in found("declines", tiny_models)}
    assert findings["docstring"].status == "ok"
    for name in ("changes-model", "padding", "evaluation-text"):
        assert (findings[name].status, findings[name].reason) == ("skipped", "not on a Friday")


def test_an_exception_is_a_finding_that_says_where(tiny_models: TinyModels, unregistered: None) -> None:
    registry.load_plugin(BROKEN / "declares_badly.py")
    finding = judge(named("state-dict"), Trial(registry.method("raises"), "opt", tiny_models))
    assert (finding.status, finding.family, finding.expected) == ("failed", "opt", "a run without an exception")
    line = (BROKEN / "declares_badly.py").read_text().splitlines().index('        raise ZeroDivisionError("as it happens")') + 1
    assert finding.seen == f"ZeroDivisionError: as it happens (declares_badly.py, line {line})"


def named(name: str) -> Check:
    (check,) = [check for check in CHECKS if check.name == name]
    return check


def test_names_are_not_given_twice_and_families_are_known() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.families and set(check.families) <= set(FAMILIES) for check in CHECKS)
    assert all("gpt2" in check.families or check.families == FAMILIES[:1] for check in CHECKS)
    assert all(check.asks.endswith(".") and check.why for check in CHECKS)


def test_what_a_method_does_to_the_process_stays_inside() -> None:
    before = torch.get_rng_state(), random.getstate()
    with isolated():
        torch.manual_seed(1)
        random.seed(1)
        torch.set_grad_enabled(False)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert torch.is_grad_enabled()


def test_a_line_for_a_check_and_three_more_for_a_failure() -> None:
    check = named("padding")
    ok = Finding(check, "opt", "ok")
    skipped = Finding(check, "gpt2", "skipped", reason="not today")
    failed = Finding(check, "llama", "failed", expected="this", seen="that")
    assert report.lines(check, [skipped, ok]) == [f"  ok       padding           {check.asks}"]
    assert report.lines(check, [skipped, skipped]) == ["  skipped  padding           (not today)"]
    assert report.lines(check, [ok, failed, Finding(check, "qwen2", "failed", expected="a", seen="b")]) == [
        "  FAIL     padding           on llama, qwen2",
        "           expected: this",
        "           seen:     that [llama]",
        f"           matters:  {check.why}",
    ]
    assert report.lines(named("search"), [Finding(named("search"), "gpt_neox", "failed", expected="a", seen="b")])[0] == "  FAIL     search"


def test_the_verdict_counts_checks() -> None:
    padding, search, fields = named("padding"), named("search"), named("fields")
    findings = [
        Finding(padding, "opt", "failed"),
        Finding(padding, "gpt2", "ok"),
        Finding(search, "gpt_neox", "skipped"),
        Finding(fields, "opt", "skipped"),
        Finding(fields, "gpt2", "ok"),
    ]
    assert report.verdict(findings) == "1 ok, 1 failed, 1 skipped"
    assert report.verdict(findings[-2:]) == "1 ok"


def names(plugin: str) -> list[str]:
    return [entry.name for entry in methods_of(plugin)]


def test_methods_are_named_by_file_module_or_name(unregistered: None) -> None:
    assert names("all") == list(registry.methods())
    assert names("npo") == ["npo"]
    assert names("methods.npo") == ["npo"]
    assert names("methods") == list(registry.methods())
    assert names(str(BROKEN / "does_nothing.py")) == ["never-yields", "no-op", "wrong-copy"]


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ("gradient-asent", "unknown method, module or .py file 'gradient-asent'; did you mean 'gradient-ascent'?"),
        ("nothing.of.the.kind", "unknown method, module or .py file 'nothing.of.the.kind'; known: "),
        (str(BROKEN / "does_nothin.py"), f"{BROKEN / 'does_nothin.py'}: no such plugin file; did you mean '{BROKEN / 'does_nothing.py'}'?"),
        ("nowhere/method.py", "nowhere/method.py: no such plugin file"),
        ("json", "json: registers no method; decorate the class with @register('name')"),
        ("tasks.books", "tasks.books: registers no method; "),
        ("", "unknown method, module or .py file ''; known: "),
    ],
)
def test_what_cannot_be_checked(plugin: str, said: str, unregistered: None) -> None:
    with pytest.raises(InputError) as raised:
        methods_of(plugin)
    assert str(raised.value).startswith(said)


def test_a_plugin_with_tasks_alone_has_nothing_to_check(tmp_path: Path, unregistered: None) -> None:
    file = tmp_path / "poems.py"
    file.write_text(
        "from pathlib import Path\nfrom benchmark import Task\n"
        "POEMS = Task(name='poems', domain='poems', removes='documents', description='poems', corpus=Path('poems'))\n"
    )
    with pytest.raises(InputError, match=r"poems\.py: registers tasks and no method; there is nothing to check"):
        methods_of(str(file))


def test_a_module_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unregistered: None) -> None:
    (tmp_path / "halfmade.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="halfmade: cannot be imported: ZeroDivisionError: division by zero"):
        methods_of("halfmade")
