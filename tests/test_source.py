"""What `--model` may name, with and without a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_cache import COMMIT, HubCache

from benchmark import LanguageModel
from benchmark.catalogue import catalogue
from benchmark.errors import InputError
from benchmark.lab import MANIFEST, Lab, Reference
from benchmark.source import resolve_model

Tiny = Callable[..., LanguageModel]


def complaint(name: str) -> str:
    """What is said about a model that cannot be had: one line."""
    with pytest.raises(InputError) as caught:
        resolve_model(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "./mine", str(tmp_path / "mine")):
        found = resolve_model(name)
        assert (found.name, found.folder.resolve(), found.lab) == ("mine", tmp_path / "mine", None)
        assert found.reference("arxiv", "any") is None
    monkeypatch.chdir(tmp_path / "mine")
    assert resolve_model(".").name == "mine"


@pytest.mark.parametrize("name", ["./missing", "/missing/folder", "~/missing", "some/deep/folder"])
def test_a_folder_that_is_not_there(name: str) -> None:
    assert complaint(name) == f"{name}: no such model folder"


def test_a_name_nearly_right() -> None:
    assert complaint("pythia-410") == "unknown model 'pythia-410'; did you mean 'pythia-410m'?"
    assert "known: galactica-1.3b, galactica-125m" in complaint("zzz")


def test_short_names() -> None:
    known = catalogue()
    sizes = ("14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
    assert {f"pythia-{size}{suffix}" for size in sizes for suffix in ("", "-deduped")} <= known.keys()
    others = {"gpt2", "gpt2-xl", "opt-125m", "galactica-1.3b", "llama-3.2-1b", "qwen2.5-0.5b", "qwen3-0.6b-base", "smollm2-135m"}
    assert others <= known.keys()
    assert known["pythia-410m"].repository == "EleutherAI/pythia-410m"
    assert known["llama-3.2-1b"].gated
    assert (known["qwen2.5-3b"].licence, known["qwen2.5-7b"].context) == ("qwen-research", 131072)
    commits = [model.revision for model in known.values() if model.revision is not None]
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits)
    assert len(set(commits)) == len(commits) > 40


def lab(folder: Path, **changes: object) -> Path:
    reference = Reference(splits="s", training_tokens=1, seconds=1.0, reference_noise=0.1, target_noise=0.1)
    manifest = Lab(recipe={}, parameters=1, threads=1, target_tokens=1, target_seconds=1.0, references={"arxiv": reference})
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump() | changes))
    return folder


def test_a_lab_folder_knows_its_references(tmp_path: Path) -> None:
    found = resolve_model(str(lab(tmp_path / "mine")))
    assert found.name == "mine"
    assert found.folder == tmp_path / "mine" / "target"
    assert found.reference("arxiv", "s") == tmp_path / "mine" / "without-arxiv"


def test_a_lab_is_only_good_for_the_documents_it_was_trained_on(tmp_path: Path) -> None:
    found = resolve_model(str(lab(tmp_path)))
    with pytest.raises(InputError, match="trained on other documents than task 'arxiv' now has; drop --data, or train a lab"):
        found.reference("arxiv", "other")
    with pytest.raises(InputError, match=r"no reference for task 'books'; it has arxiv$"):
        found.reference("books", "s")


@pytest.mark.parametrize("changes", [{"references": 3}, {"more": 1}, {"parameters": "many"}])
def test_a_manifest_that_is_none(tmp_path: Path, changes: dict[str, object]) -> None:
    message = complaint(str(lab(tmp_path, **changes)))
    assert message.startswith(f"{tmp_path / MANIFEST}: not a lab manifest (")
    assert message.endswith("make one with `bench lab train`")


def test_a_manifest_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{")
    assert complaint(str(tmp_path)).startswith(f"{tmp_path / MANIFEST}: not a lab manifest (")


PINNED = catalogue()["pythia-14m"].revision


def test_a_cached_hub_model_needs_no_network(hub: HubCache, tiny_lm: Tiny) -> None:
    snapshot = hub.model("EleutherAI/pythia-14m", tiny_lm().folder, commit=str(PINNED), ref=None)
    found = resolve_model("pythia-14m")
    assert (found.name, found.folder, found.repository) == ("pythia-14m", snapshot, "EleutherAI/pythia-14m")
    assert found.origin == f"EleutherAI/pythia-14m@{PINNED}"
    assert found.notice is None


def test_a_short_name_stands_for_a_commit_and_it_is_said_where_another_has_to_do(hub: HubCache, tiny_lm: Tiny) -> None:
    hub.model("EleutherAI/pythia-14m", tiny_lm().folder)
    found = resolve_model("pythia-14m")
    assert (found.folder.name, found.origin) == (COMMIT, f"EleutherAI/pythia-14m@{COMMIT}")
    assert found.notice == f"pythia-14m stands for commit {str(PINNED)[:7]}, which cannot be had now; this is {COMMIT[:7]}, the cached main"
    hub.model("EleutherAI/pythia-14m", tiny_lm().folder, commit=str(PINNED), ref=None)
    assert resolve_model("pythia-14m").notice is None


@pytest.mark.parametrize(
    ("name", "called", "commit"),
    [
        ("pythia-14m@step1000", "pythia-14m@step1000", "a" * 40),
        ("EleutherAI/pythia-14m@step1000", "pythia-14m@step1000", "a" * 40),
        ("EleutherAI/pythia-14m", "pythia-14m", COMMIT),
        ("pythia-14m@main", "pythia-14m@main", COMMIT),
    ],
)
def test_a_hub_model_may_be_named_with_a_revision(hub: HubCache, tiny_lm: Tiny, name: str, called: str, commit: str) -> None:
    hub.model("EleutherAI/pythia-14m", tiny_lm().folder)
    hub.model("EleutherAI/pythia-14m", tiny_lm().folder, commit="a" * 40, ref="step1000")
    found = resolve_model(name)
    assert (found.name, found.folder.name, found.notice) == (called, commit, None)


def test_a_revision_that_is_not_there(hub: HubCache, tiny_lm: Tiny) -> None:
    hub.model("EleutherAI/pythia-14m", tiny_lm().folder)
    assert "not in the local cache" in complaint("pythia-14m@step2000")
    assert complaint("pythia-14m@") == "pythia-14m@: no revision behind the @; name a branch, a tag or a commit, or leave the @ out"


def test_what_is_not_cached_is_out_of_reach(hub: HubCache) -> None:
    assert not list(hub.home.iterdir())
    for name, repository in (("org/model", "org/model"), ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M")):
        assert complaint(name).startswith(f"{repository}: no such folder, not in the local cache, and it cannot be fetched from the hub (")


def test_offline_mode_is_honoured_from_the_environment(tiny_lm: Callable[..., LanguageModel], tmp_path: Path) -> None:
    """In a process of its own: a cached model loads, another is refused without a connection being tried."""
    HubCache(tmp_path).model("org/tiny", tiny_lm().folder)
    script = (
        "import socket\n"
        "from benchmark.model import load_model\n"
        "from benchmark.source import resolve_model\n"
        "def refuse(*args, **kwargs): raise SystemExit('a connection was tried')\n"
        "socket.create_connection = socket.socket.connect = socket.getaddrinfo = refuse\n"
        "found = resolve_model('org/tiny')\n"
        "print(found.name, load_model(found.folder).model.num_parameters())\n"
        "try: resolve_model('org/other')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    loaded, refused = ran.stdout.splitlines()
    assert loaded == f"tiny {tiny_lm().model.num_parameters()}"
    assert refused.startswith("UnreachableError org/other: no such folder, not in the local cache")
    assert "OfflineModeIsEnabled" in refused
    assert "Traceback" not in ran.stderr
