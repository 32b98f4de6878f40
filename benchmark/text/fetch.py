"""The files of a hub data set: from the hub's cache on this machine, else from the hub, asked once and not waited for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from benchmark.asking import TIMEOUT, UnreachableError, refusals_told
from benchmark.errors import InputError
from benchmark.text.sources import Pool, Source

CARD = "README.md"


class Unusable(Exception):  # noqa: N818 -- a finding about a source, of which there may be another
    """A source cannot be had or read. `hub_silent`: because the hub does not answer, so that others need not be tried there."""

    def __init__(self, reason: str, hub_silent: bool = False) -> None:
        super().__init__(reason)
        self.hub_silent = hub_silent


@dataclass(frozen=True)
class Fetched:
    """The files of one pool, in the order of their names, and the commit that they are of."""

    files: tuple[Path, ...]
    commit: str


def fetch(source: Source, pool: Pool, cache_only: bool) -> Fetched:
    """The files of a pool at the source's revision.

    Args:
        source: names the data set and its revision.
        pool: names the split.
        cache_only: do not ask the hub, which is known not to answer.

    Raises:
        Unusable: they are not in the cache and cannot be fetched, or the data set has no such split.
    """
    patterns = [pool.files] if pool.files else _declared(_snapshot(source, [CARD], cache_only), source, pool)
    folder = _snapshot(source, patterns, cache_only)
    return Fetched(tuple(file for pattern in patterns for file in _matching(folder, pattern)), folder.name)


def _declared(folder: Path, source: Source, pool: Pool) -> list[str]:
    """The patterns of a split's files, as the data set's card has them."""
    from huggingface_hub import metadata_load

    configs = (metadata_load(folder / CARD) or {}).get("configs") or []
    if not configs:
        return [f"data/{pool.split}-*"]  # where `push_to_hub` puts a split, and `datasets` looks for it
    for config in configs:
        if config.get("config_name") == pool.config:
            files = config.get("data_files") or []
            for entry in files if isinstance(files, list) else [files]:
                split, path = ("train", entry) if isinstance(entry, str) else (entry.get("split"), entry.get("path"))
                if split == pool.split and path:
                    return path if isinstance(path, list) else [path]
    known = ", ".join(str(config.get("config_name")) for config in configs)
    raise Unusable(f"{source.repository} has no split {pool.split!r} of configuration {pool.config!r} (configurations: {known})")


def _snapshot(source: Source, patterns: list[str], cache_only: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    where, revision = source.repository, source.revision
    try:
        folder = Path(snapshot_download(where, repo_type="dataset", revision=revision, allow_patterns=patterns, local_files_only=True))
        if all(_whole(_matching(folder, pattern), pattern) for pattern in patterns):
            return folder
    except LocalEntryNotFoundError:
        pass
    if cache_only:
        raise Unusable(f"{where} is not in the local cache", hub_silent=True)
    try:
        with refusals_told(where, revision, pages="datasets/"):
            HfApi().dataset_info(where, revision=revision, timeout=TIMEOUT)  # one quick question before a download with retries
            folder = Path(snapshot_download(where, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except UnreachableError as silence:
        raise Unusable(f"{where} is not in the local cache and cannot be fetched ({silence})", hub_silent=True) from None
    except InputError as refusal:
        raise Unusable(str(refusal)) from None
    if not all(_matching(folder, pattern) for pattern in patterns):
        raise Unusable(f"{where} has no file {', '.join(patterns)}")
    return folder


def _matching(folder: Path, pattern: str) -> tuple[Path, ...]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return tuple(file for file in files if fnmatch(file.relative_to(folder).as_posix(), pattern))


def _whole(files: Iterable[Path], pattern: str) -> bool:
    """Whether there are files and, where their names number them and the pattern means all numbers, every one of them."""
    files = list(files)
    numbered = [match for file in files if (match := re.search(r"-(\d{5})-of-(\d{5})", file.name))]
    one_asked_for = re.search(r"-\d{5}-of-", pattern) is not None
    return bool(files) and (one_asked_for or not numbered or len(numbered) == int(numbered[0][2]))
