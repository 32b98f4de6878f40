"""What `--model` may name: the lab, a local folder, a known alias, or a hub repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.cost import retraining_flops
from benchmark.errors import InputError, brief, unknown_name
from benchmark.lab import MANIFEST, SHIPPED, TARGET, Lab, read_lab, reference_folder
from benchmark.loading import ON_CPU, Loading
from benchmark.record import Cost, Setting

LAB = "lab"

ALIASES = {
    f"pythia-{size}{suffix}": f"EleutherAI/pythia-{size}{suffix}"
    for size in ("14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
    for suffix in ("", "-deduped")
    if not (size in ("14m", "31m") and suffix)
}
"""Short names of hub repositories."""

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub before saying that it is out of reach."""


@dataclass(frozen=True)
class ModelSource:
    """Where a target model is, and the references that go with it."""

    name: str
    """Names the results folder."""
    folder: Path
    lab: Lab | None = None
    lab_folder: Path | None = None
    repository: str | None = None
    """On the hub, where it is from there."""

    @property
    def setting(self) -> Setting:
        """How the model came to know what is to be forgotten."""
        return "pretrained" if self.lab is None else "lab"

    def reference(self, task: str, splits: str) -> Path | None:
        """The folder of the exact reference model for a task; None where there is none.

        Raises:
            InputError: the lab's models were trained on other documents than these.
        """
        if self.lab is None or self.lab_folder is None:
            return None
        if task not in self.lab.references:
            raise InputError(f"{self.lab_folder}: no reference for task {task!r}; it has {', '.join(sorted(self.lab.references))}")
        if self.lab.references[task].splits != splits:
            raise InputError(
                f"{self.lab_folder}: the lab's models were trained on other documents than task {task!r} now has; "
                "drop --data, or train a lab on this text with `bench lab train --data`"
            )
        return reference_folder(self.lab_folder, task)

    def retraining(self, task: str) -> Cost | None:
        """What training the reference of a task cost: seconds and tokens as recorded, FLOPs as 6 x parameters x tokens."""
        if self.lab is None:
            return None
        made = self.lab.references[task]
        flops = retraining_flops(self.lab.parameters, made.training_tokens)
        return Cost(forward_tokens=made.training_tokens, backward_tokens=made.training_tokens, flops=int(flops), seconds=made.seconds)


def resolve_model(name: str, loading: Loading = ON_CPU) -> ModelSource:
    """Find the model that a command-line name means; a hub model is fetched into the hub's own cache.

    Raises:
        InputError: there is no such model, or it cannot be had now.
    """
    if name == LAB:
        return _lab(SHIPPED, LAB)
    path = Path(name).expanduser()
    if path.is_dir():
        return _lab(path, path.resolve().name) if (path / MANIFEST).is_file() else ModelSource(path.resolve().name, path)
    repository = ALIASES.get(name, name)
    if name not in ALIASES and (repository.count("/") != 1 or name.startswith((".", "/", "~"))):
        if "/" in name:
            raise InputError(f"{name}: no such model folder")
        raise unknown_name("model", name, [LAB, *ALIASES])
    return ModelSource(repository.split("/")[1], _fetch(repository), repository=repository)


def _lab(folder: Path, name: str) -> ModelSource:
    return ModelSource(name, folder / TARGET, read_lab(folder), folder)


def _fetch(repository: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    patterns = ["*.json", "*.safetensors", "tokenizer.model", "merges.txt"]
    try:
        return Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=True))
    except HFValidationError:
        raise InputError(f"{repository}: neither a model folder nor the name of a hub repository (ORG/NAME)") from None
    except LocalEntryNotFoundError:
        pass
    try:
        HfApi().model_info(repository, timeout=HUB_TIMEOUT)  # one quick question before a download with retries
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except GatedRepoError:
        raise InputError(f"{repository}: gated; accept its terms at https://huggingface.co/{repository} and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise InputError(f"{repository}: no such folder, nor such a repository on the hub; if it is private, set HF_TOKEN") from None
    except Exception as error:  # OSError, httpx's and Xet's errors, which share no base: whichever, the model cannot be had now
        raise InputError(
            f"{repository}: no such folder, not in the local cache, and it cannot be fetched from the hub ({brief(error)}); "
            "without a network use --model lab or --model FOLDER"
        ) from None
