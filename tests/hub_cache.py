"""A hub cache laid out on disk as the hub's own client leaves it, so that hub models and data sets are found with no network.

hub.model("EleutherAI/pythia-410m", tiny_lm().folder)
hub.dataset("org/texts", {"arxiv": {"train": [{"text": "..."}], "val": [{"text": "..."}]}})
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

COMMIT = "0123456789" * 4
"""The revision that everything laid out is of, unless a test says otherwise."""

Tables = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Rows by configuration and split."""


@dataclass(frozen=True)
class HubCache:
    """What a user has fetched from the hub so far."""

    home: Path
    """What `HF_HOME` names."""

    def model(self, repository: str, folder: Path, commit: str = COMMIT, ref: str | None = "main") -> Path:
        """Lay a model folder out as one revision of a repository; the snapshot's folder.

        `ref` is the branch or tag that names the commit: None where it was asked for by its hash.
        """
        return self._snapshot("models", repository, {str(file.relative_to(folder)): file for file in _files(folder)}, commit, ref)

    def dataset(self, repository: str, tables: Tables, commit: str = COMMIT, ref: str | None = "main") -> Path:
        """Lay a data set out in Parquet, its configurations and splits declared in its card; the snapshot's folder."""
        import pyarrow
        import pyarrow.parquet

        draft = self.home / "drafts" / repository
        card = ["---", "configs:"]
        for configuration, splits in tables.items():
            card += [f"- config_name: {configuration}", "  data_files:"]
            for name, rows in splits.items():
                path = f"{configuration}/{name}-00000-of-00001.parquet"
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), draft / path)
                card += [f"  - split: {name}", f"    path: {configuration}/{name}-*"]
        (draft / "README.md").write_text("\n".join([*card, "---", ""]), "utf-8")
        return self.dataset_files(repository, draft, commit, ref)

    def dataset_files(self, repository: str, folder: Path, commit: str = COMMIT, ref: str | None = "main") -> Path:
        """Lay a folder of a data set's files out, whatever they are; the snapshot's folder."""
        return self._snapshot("datasets", repository, {str(file.relative_to(folder)): file for file in _files(folder)}, commit, ref)

    def _snapshot(
        self, kind: Literal["models", "datasets"], repository: str, files: Mapping[str, Path], commit: str, ref: str | None
    ) -> Path:
        home = self.home / "hub" / f"{kind}--{repository.replace('/', '--')}"
        snapshot = home / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (home / "blobs").mkdir(exist_ok=True)
        for name, file in files.items():
            blob = home / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            shutil.copyfile(file, blob)
            place = snapshot / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(Path(*[".."] * (2 + name.count("/")), "blobs", blob.name))
        if ref is not None:
            (home / "refs").mkdir(exist_ok=True)
            (home / "refs" / ref).write_text(commit)
        return snapshot


def offline(home: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    """An empty cache that this process and those it starts use, with no hub to be reached."""
    import datasets.config
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_DATASETS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    # What the libraries read from the environment when they were imported.
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
    home.mkdir(parents=True, exist_ok=True)
    return HubCache(home)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
