"""The laid-out hub cache is read by the libraries' own code, with no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from hub_cache import COMMIT, HubCache
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmark import LanguageModel


def test_a_model_is_found_by_its_repository(hub: HubCache, tiny_lm: Callable[..., LanguageModel]) -> None:
    snapshot = hub.model("org/tiny", tiny_lm().folder)
    assert AutoModelForCausalLM.from_pretrained("org/tiny").num_parameters() == tiny_lm().model.num_parameters()
    assert len(AutoTokenizer.from_pretrained("org/tiny")) == 300
    assert Path(snapshot_download("org/tiny")) == snapshot
    with pytest.raises(LocalEntryNotFoundError):
        snapshot_download("org/other")


def test_a_revision_is_found_by_its_name_or_hash(hub: HubCache, tiny_lm: Callable[..., LanguageModel]) -> None:
    hub.model("org/tiny", tiny_lm().folder)
    early, pinned = "a" * 40, "b" * 40
    hub.model("org/tiny", tiny_lm("gpt2").folder, early, ref="step1000")
    hub.model("org/tiny", tiny_lm("opt").folder, pinned, ref=None)
    for revision, commit in ((None, COMMIT), ("step1000", early), (early, early), (pinned, pinned)):
        assert Path(snapshot_download("org/tiny", revision=revision)).name == commit
    with pytest.raises(LocalEntryNotFoundError):
        snapshot_download("org/tiny", revision="step2000")


def test_a_data_set_is_read_from_its_snapshot(hub: HubCache) -> None:
    rows = [{"text": f"text {i}", "label": i} for i in range(5)]
    hub.dataset("org/texts", {"arxiv": {"train": rows[:3], "val": rows[3:]}, "github": {"train": rows[:1]}})
    folder = snapshot_download("org/texts", repo_type="dataset", revision=COMMIT, allow_patterns=["arxiv/*", "README.md"])
    assert datasets.load_dataset(folder, "arxiv", split="val").to_list() == rows[3:]
    assert datasets.load_dataset(folder, "github", split="train").to_list() == rows[:1]
    assert (hub.home / "datasets").is_dir()
