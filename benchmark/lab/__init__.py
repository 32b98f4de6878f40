"""The lab: small models trained on the bundled text, and trained again without each task's forget set.

Here the perfect answer is known. A lab is a folder: `lab.json`, the target model in `target/`, and for each task the
reference model in `without-<task>/`. A lab that was trained with several seeds has the others in `seed-1/`, `seed-2/`, ...: each is
a lab of its own, over the same documents.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmark.errors import InputError

SHIPPED = Path(__file__).parent / "models"
"""The lab that comes with the package."""

MANIFEST = "lab.json"
TARGET = "target"
"""Sub-folder of the target model."""


class Reference(BaseModel):
    """A model retrained without one task's forget set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    splits: str
    """Fingerprint of the task's documents: the reference is exact for these alone."""
    training_tokens: int
    """Tokens seen in training, repetitions included."""
    seconds: float
    """Training time."""
    reference_noise: float | None
    """How far the forget NLL (all documents) of two retrainings with different seeds is apart, nats, the mean over pairs of them;
    None: one seed."""
    target_noise: float | None
    """The same for trainings of the target."""

    @property
    def noise_floor(self) -> float | None:
        """The larger of the two: one pair of trainings may agree by luck. A gap within it means nothing."""
        if self.reference_noise is None or self.target_noise is None:
            return None
        return max(self.reference_noise, self.target_noise)


class Lab(BaseModel):
    """What a lab folder holds, and how it was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = 1
    """Trainings of everything; the seeds are counted from 0, the lab's own."""
    base: str | None = None
    """Fingerprint of the model that was taught the documents; None: trained on them from scratch."""
    base_origin: str | None = None
    """Repository and commit of that model, where it is from the hub."""
    recipe: dict[str, int | float]
    parameters: int
    threads: int
    target_tokens: int
    target_seconds: float
    references: dict[str, Reference]
    """By task."""


def read_lab(folder: Path) -> Lab:
    """The manifest of a lab folder.

    Raises:
        InputError: it is not one that this version can read.
    """
    try:
        return Lab.model_validate_json((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder / MANIFEST}: not a lab manifest ({str(error).splitlines()[0]}); make one with `bench lab train`"
        ) from None


def seed_folder(folder: Path, seed: int) -> Path:
    """Where the lab of a seed is: the first is the lab itself."""
    return folder / f"seed-{seed}" if seed else folder


def reference_folder(folder: Path, task: str) -> Path:
    """Where the reference model of a task is."""
    return folder / f"without-{task}"
