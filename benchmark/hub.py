"""Models of the hub: from its cache on this machine, else fetched, the hub asked once and not waited for."""

from __future__ import annotations

from pathlib import Path

from benchmark.asking import TIMEOUT, UnreachableError, refusals_told
from benchmark.errors import InputError
from benchmark.loading import ON_CPU, PICKLED, PICKLES, Loading, check_kind, lacking

PARTS = ["*.json", "tokenizer.model", "merges.txt", "vocab.txt"]
"""Files beside the weights that a model is loaded from."""

ELSEWHERE = ["*/*", "consolidated*"]
"""Files that hold the same weights again, in other formats."""


def cached(repository: str, revision: str | None = None, loading: Loading = ON_CPU) -> Path | None:
    """The folder of a model in the hub's cache, all of it; None where it is not there, or not whole."""
    folder = _snapshot(repository, revision)
    return folder if folder is not None and lacking(folder, loading) is None else None


def fetched(repository: str, revision: str | None = None, loading: Loading = ON_CPU) -> Path:
    """The folder of a model in the hub's cache, fetched where it is not there yet.

    Raises:
        UnreachableError: it is not in the cache, and the hub does not answer.
        InputError: there is no such model, it may not be had, or it is none that can be used.
    """
    if (folder := cached(repository, revision, loading)) is not None:
        return folder
    try:
        with refusals_told(repository, revision, missing="no such folder, nor such a repository on the hub"):
            return _download(repository, revision, loading)
    except UnreachableError as silence:
        raise UnreachableError(
            f"{repository}: no such folder, {_in_cache(repository, revision, loading)}, and it cannot be fetched from the hub "
            f"({silence}); without a network use --model lab or --model FOLDER"
        ) from None


def _download(repository: str, revision: str | None, loading: Loading) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    info = HfApi().model_info(repository, revision=revision, timeout=TIMEOUT)  # one quick question before a download with retries
    names = {sibling.rfilename for sibling in info.siblings or ()}
    if "config.json" not in names:
        raise InputError(f"{repository}: no config.json; not a model that transformers can load")
    check_kind(Path(hf_hub_download(repository, "config.json", revision=revision)), repository, loading)
    in_tensors = any(Path(name).match("*.safetensors") for name in names if "/" not in name)
    if not in_tensors and not loading.allow_pickle:
        pickled = any(Path(name).match(PICKLES) for name in names)
        raise InputError(f"{repository}: {PICKLED if pickled else 'no weights in safetensors'}")
    patterns = [*PARTS, "*.safetensors" if in_tensors else PICKLES, *(["*.py"] if loading.trust_remote_code else [])]
    return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns, ignore_patterns=ELSEWHERE))


def _in_cache(repository: str, revision: str | None, loading: Loading) -> str:
    folder = _snapshot(repository, revision)
    return "not in the local cache" if folder is None else f"in the local cache without all that is needed ({lacking(folder, loading)})"


def _snapshot(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=["config.json"], local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError:
        raise InputError(f"{repository}: neither a model folder nor the name of a hub repository (ORG/NAME)") from None
