"""What `--model` may name: the lab, a local folder, or a model of the hub by its short name or its repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.asking import UnreachableError
from benchmark.catalogue import catalogue
from benchmark.errors import InputError, unknown_name
from benchmark.hub import cached, fetched
from benchmark.lab import MANIFEST, SHIPPED, TARGET, Lab, read_lab, reference_folder, seed_folder
from benchmark.loading import ON_CPU, Loading
from benchmark.record import Cost, Setting

LAB = "lab"


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
    notice: str | None = None
    """What the user should know about which model this is."""

    @property
    def setting(self) -> Setting:
        """How the model came to know what is to be forgotten."""
        if self.lab is None:
            return "pretrained"
        return "lab" if self.lab.base is None else "implanted"

    @property
    def origin(self) -> str | None:
        """Repository and commit on the hub, ORG/NAME@COMMIT; None for a model that is not from there."""
        if self.lab is not None:
            return self.lab.base_origin
        return None if self.repository is None else f"{self.repository}@{self.folder.name}"

    @property
    def target_seeds(self) -> int:
        """How many trainings of it there are."""
        return 1 if self.lab is None else self.lab.seeds

    def of_seed(self, target_seed: int) -> ModelSource:
        """The training with a target seed: the model itself for 0, and where it was taught, which was with that seed.

        Raises:
            InputError: its folder does not hold a lab.
        """
        if target_seed == 0 or self.lab_folder is None or self.setting == "implanted":
            return self
        return _lab(seed_folder(self.lab_folder, target_seed), self.name)

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
        from benchmark.cost import retraining_flops  # it imports torch, which listing models should not wait for

        made = self.lab.references[task]
        flops = retraining_flops(self.lab.parameters, made.training_tokens)
        return Cost(forward_tokens=made.training_tokens, backward_tokens=made.training_tokens, flops=int(flops), seconds=made.seconds)


def resolve_model(name: str, loading: Loading = ON_CPU) -> ModelSource:
    """Find the model that a command-line name means; a hub model is fetched into the hub's own cache.

    A hub model may be named with a revision: `pythia-410m@step1000`, `org/name@main`.

    Raises:
        InputError: there is no such model, or it cannot be had now.
    """
    if name == LAB:
        return _lab(SHIPPED, LAB)
    path = Path(name).expanduser()
    if path.is_dir():
        return _lab(path, path.resolve().name) if (path / MANIFEST).is_file() else ModelSource(path.resolve().name, path)
    stem, at, revision = name.partition("@")
    if at and not revision:
        raise InputError(f"{name}: no revision behind the @; name a branch, a tag or a commit, or leave the @ out")
    known = catalogue().get(stem)
    if known is None and (stem.count("/") != 1 or name.startswith((".", "/", "~"))):
        if "/" in name:
            raise InputError(f"{name}: no such model folder")
        raise unknown_name("model", stem, [LAB, *catalogue()])
    repository = stem if known is None else known.repository
    called = repository.split("/")[1] + at + revision.replace("/", "-")
    if known is None or known.revision is None or revision:
        return ModelSource(called, fetched(repository, revision or None, loading), repository=repository)
    try:
        return ModelSource(called, fetched(repository, known.revision, loading), repository=repository)
    except UnreachableError:
        folder = cached(repository, None, loading)
        if folder is None:
            raise
    notice = f"{stem} stands for commit {known.revision[:7]}, which cannot be had now; this is {folder.name[:7]}, the cached main"
    return ModelSource(called, folder, repository=repository, notice=notice)


def _lab(folder: Path, name: str) -> ModelSource:
    return ModelSource(name, folder / TARGET, read_lab(folder), folder)
