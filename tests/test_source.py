"""What `--model` may name, with and without a network."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from benchmark import LanguageModel, source
from benchmark.errors import InputError
from benchmark.lab import MANIFEST, Lab, Reference
from benchmark.source import ALIASES, resolve_model

COMMIT = "0123456789" * 4


def complaint(name: str) -> str:
    """What is said about a model that cannot be had: one line."""
    with pytest.raises(InputError) as caught:
        resolve_model(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cached(cache: Path, repository: str, folder: Path) -> Path:
    """Lay a model out as the hub client's cache has it."""
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    return Path(shutil.copytree(folder, home / "snapshots" / COMMIT))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a hub that refuses connections."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


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
    assert "known: lab, pythia-1.4b" in complaint("zzz")


def test_aliases_name_the_pythia_suite() -> None:
    assert ALIASES["pythia-410m"] == "EleutherAI/pythia-410m"
    assert ALIASES["pythia-12b-deduped"] == "EleutherAI/pythia-12b-deduped"
    assert len(ALIASES) == 18


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


@pytest.mark.parametrize("name", ["org/model", "pythia-14m"])
def test_a_hub_out_of_reach_is_said_at_once(cache: Path, name: str) -> None:
    started = time.monotonic()
    message = complaint(name)
    assert time.monotonic() - started < 6
    assert message.startswith(ALIASES.get(name, name) + ": no such folder, not in the local cache, and it cannot be fetched from the hub (")
    assert message.endswith("without a network use --model lab or --model FOLDER")


def test_a_hub_that_does_not_answer_is_not_waited_for(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{mute.getsockname()[1]}")
        monkeypatch.setattr(source, "HUB_TIMEOUT", 0.2)
        started = time.monotonic()
        assert "Timeout" in complaint("org/model")
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", ["org/two words", "org/a--b", "org/.hidden"])
def test_a_name_that_no_repository_can_have(cache: Path, name: str) -> None:
    assert complaint(name) == f"{name}: neither a model folder nor the name of a hub repository (ORG/NAME)"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (GatedRepoError, "gated; accept its terms at https://huggingface.co/org/model and set HF_TOKEN"),
        (RepositoryNotFoundError, "no such folder, nor such a repository on the hub; if it is private, set HF_TOKEN"),
    ],
)
def test_what_the_hub_refuses(cache: Path, monkeypatch: pytest.MonkeyPatch, kind: type[RepositoryNotFoundError], said: str) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise kind("401 Client Error\nmore lines", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    assert complaint("org/model") == f"org/model: {said}"


def test_a_cached_hub_model_needs_no_network(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    snapshot = cached(cache, "EleutherAI/pythia-14m", folder)
    found = resolve_model("pythia-14m")
    assert (found.name, found.folder) == ("pythia-14m", snapshot)


def test_offline_mode_is_honoured_from_the_environment(tiny_lm: Callable[..., LanguageModel], tmp_path: Path) -> None:
    """In a process of its own: a cached model loads, another is refused without a connection being tried."""
    cached(tmp_path / "hub", "org/tiny", tiny_lm().folder)
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
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    loaded, refused = ran.stdout.splitlines()
    assert loaded == f"tiny {tiny_lm().model.num_parameters()}"
    assert refused.startswith("InputError org/other: no such folder, not in the local cache")
    assert "OfflineModeIsEnabled" in refused
    assert "Traceback" not in ran.stderr
