"""Models of the hub: what is in the cache, what is fetched, what is refused, and that a token stays where it is."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hub_cache import COMMIT, HubCache
from hub_server import HEAD_COMMIT, HubServer, serving
from huggingface_hub import constants
from safetensors.torch import load_file

from benchmark import LanguageModel, hub
from benchmark.asking import UnreachableError
from benchmark.errors import InputError
from benchmark.hub import cached, fetched
from benchmark.loading import Loading
from benchmark.model import load_model

Tiny = Callable[..., LanguageModel]


@pytest.fixture
def folder(tiny_lm: Tiny, tmp_path: Path) -> Path:
    """A model folder that may be changed."""
    return Path(shutil.copytree(tiny_lm().folder, tmp_path / "model"))


@pytest.fixture
def server(hub: HubCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub to fetch from, and an empty cache."""
    assert not list(hub.home.iterdir())
    with serving(monkeypatch) as running:
        yield running


def complaint(repository: str, revision: str | None = None, loading: Loading = hub.ON_CPU) -> str:
    """What is said about a model that cannot be had: one line."""
    with pytest.raises(InputError) as caught:
        fetched(repository, revision, loading)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pickled(folder: Path) -> Path:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


class TestFetching:
    def test_a_model_is_fetched_once(self, server: HubServer, folder: Path, tiny_lm: Tiny) -> None:
        (folder / "README.md").write_text("about")
        (folder / "onnx").mkdir()
        (folder / "onnx" / "model.safetensors").write_text("the same again")
        server.folders["org/tiny"] = folder
        found = fetched("org/tiny")
        assert found.name == HEAD_COMMIT
        assert sorted(file.name for file in found.rglob("*") if file.is_file()) == sorted(file.name for file in tiny_lm().folder.iterdir())
        assert load_model(found).model.num_parameters() == tiny_lm().model.num_parameters()
        asked = len(server.asked)
        assert fetched("org/tiny") == cached("org/tiny") == found
        assert len(server.asked) == asked

    def test_a_revision_is_fetched(self, server: HubServer, folder: Path) -> None:
        server.folders["org/tiny"] = folder
        assert fetched("org/tiny", HEAD_COMMIT).name == HEAD_COMMIT
        assert cached("org/tiny") is None
        assert complaint("org/tiny", "step7") == "org/tiny: no revision 'step7' of it; a revision is a branch, a tag or a commit"

    def test_what_is_cached_in_part_is_completed(self, server: HubServer, hub: HubCache, folder: Path) -> None:
        server.folders["org/tiny"] = folder
        part = hub.home / "part"
        part.mkdir()
        shutil.copy(folder / "config.json", part)
        hub.model("org/tiny", part, commit=HEAD_COMMIT)
        assert cached("org/tiny") is None
        assert fetched("org/tiny") == cached("org/tiny") is not None

    def test_pickled_weights_are_fetched_only_where_that_is_asked_for(self, server: HubServer, folder: Path) -> None:
        server.folders["org/tiny"] = pickled(folder)
        assert complaint("org/tiny").startswith("org/tiny: only pickled weights, which can carry code; ")
        assert not any("pytorch_model.bin" in path for path in server.asked)
        assert (fetched("org/tiny", loading=Loading(allow_pickle=True)) / "pytorch_model.bin").is_file()
        assert cached("org/tiny") is None

    def test_of_both_kinds_of_weights_the_pickled_ones_are_left(self, server: HubServer, folder: Path) -> None:
        shutil.copy(folder / "model.safetensors", folder / "pytorch_model.bin")
        server.folders["org/tiny"] = folder
        assert not (fetched("org/tiny", loading=Loading(allow_pickle=True)) / "pytorch_model.bin").exists()

    def test_code_is_fetched_only_where_that_is_asked_for(self, server: HubServer, folder: Path) -> None:
        edit_config(folder, model_type="made_up", auto_map={"AutoModelForCausalLM": "made_up.Model"})
        (folder / "made_up.py").write_text("raise SystemExit('was run')")
        server.folders["org/tiny"] = folder
        assert complaint("org/tiny").endswith("if you have read it and trust it, say --trust-remote-code")
        assert not any(path.endswith(".py") for path in server.asked)
        assert (fetched("org/tiny", loading=Loading(trust_remote_code=True)) / "made_up.py").is_file()


class TestRefusals:
    def test_a_repository_that_is_not_there(self, server: HubServer) -> None:
        assert complaint("org/none") == "org/none: no such folder, nor such a repository on the hub; if it is private, set HF_TOKEN"

    @pytest.mark.parametrize("where", ["environment", "login"])
    def test_a_gated_repository_wants_a_token_and_takes_it_from_the_usual_places(
        self, server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        server.folders["org/tiny"] = folder
        server.gated.add("org/tiny")
        assert complaint("org/tiny") == "org/tiny: gated; accept its terms at https://huggingface.co/org/tiny and set HF_TOKEN"
        assert server.tokens == {None}
        if where == "environment":
            monkeypatch.setenv("HF_TOKEN", "hf_of_the_user")
        else:
            Path(constants.HF_TOKEN_PATH).write_text("hf_of_the_user")
        assert fetched("org/tiny").is_dir()
        assert server.tokens == {None, "Bearer hf_of_the_user"}

    @pytest.mark.parametrize("head", ["BertForMaskedLM", "ViTForImageClassification"])
    def test_another_kind_of_model_is_refused_before_its_weights_are_fetched(self, server: HubServer, folder: Path, head: str) -> None:
        edit_config(folder, model_type="bert", architectures=[head])
        server.folders["org/tiny"] = folder
        assert complaint("org/tiny").startswith(f"org/tiny: {head} is not a causal language model; name one that predicts the next token")
        assert not any("safetensors" in path for path in server.asked)

    @pytest.mark.parametrize(
        ("lost", "said"),
        [
            ("config.json", "no config.json; not a model that transformers can load"),
            ("model.safetensors", "no weights in safetensors"),
        ],
    )
    def test_a_repository_without_a_model(self, server: HubServer, folder: Path, lost: str, said: str) -> None:
        (folder / lost).unlink()
        server.folders["org/tiny"] = folder
        assert complaint("org/tiny") == f"org/tiny: {said}"

    @pytest.mark.parametrize("name", ["org/two words", "org/a--b", "org/.hidden"])
    def test_a_name_that_no_repository_can_have(self, server: HubServer, name: str) -> None:
        assert complaint(name) == f"{name}: neither a model folder nor the name of a hub repository (ORG/NAME)"
        assert server.asked == []


class TestOutOfReach:
    @pytest.fixture(autouse=True)
    def no_hub(self, hub: HubCache, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hub that refuses connections, which nobody has told the client."""
        assert not list(hub.home.iterdir())
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    def test_is_said_at_once(self) -> None:
        started = time.monotonic()
        message = complaint("org/model")
        assert time.monotonic() - started < 6
        assert message.startswith("org/model: no such folder, not in the local cache, and it cannot be fetched from the hub (")
        assert message.endswith("without a network use --model lab or --model FOLDER")

    def test_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{mute.getsockname()[1]}")
            monkeypatch.setattr(hub, "TIMEOUT", 0.2)
            started = time.monotonic()
            assert "Timeout" in complaint("org/model")
            assert time.monotonic() - started < 5

    def test_a_part_in_the_cache_is_told_of(self, hub: HubCache, folder: Path) -> None:
        hub.model("org/tiny", pickled(folder))
        with pytest.raises(UnreachableError, match=r"in the local cache without all that is needed \(only pickled weights, .*\), and it"):
            fetched("org/tiny")
        assert fetched("org/tiny", loading=Loading(allow_pickle=True)).name == COMMIT

    def test_a_missing_shard_is_told_of(self, hub: HubCache, folder: Path) -> None:
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        hub.model("org/tiny", folder)
        with pytest.raises(UnreachableError, match=r"\(no model-00002-of-00002.safetensors, which holds a part of the weights; add it\)"):
            fetched("org/tiny")
