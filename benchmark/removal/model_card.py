"""The card of a saved model: what was done to it, and what is known of the result. Never the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from huggingface_hub.repocard import metadata_load

from benchmark.record import Measurement, Record

UNKNOWN = "unknown"
"""The hub's own word for a licence that is not known."""

LICENCE = ("license", "license_name", "license_link")

LIMITS = """The figures say how the model behaves on pieces of the text itself. They do not say that nothing of it is left: someone who
trains the model on related text, or asks in another way, may bring some of it back. Knowledge that is in other documents as well
is not removed. Whoever must prove that the text is gone has to train the model again without it."""


@dataclass(frozen=True)
class Made:
    """A model to be saved, and where it comes from."""

    base: str
    """Its repository on the hub, or the name of its folder."""
    folder: Path
    """The untouched model's."""
    record: Record
    """Of the cell as it was run again: its operating point is the model itself."""
    step: int
    sentences: Sequence[tuple[str, str]]
    """The recommendation, labelled."""


def model_card(made: Made) -> str:
    """Markdown behind YAML front matter, as the hub reads it."""
    spec, requested = made.record.spec, made.record.requested
    assert requested is not None  # a model is saved for a removal request alone
    assert made.record.baseline is not None  # and it was measured
    facts = {
        "base model": f"{made.base}, fingerprint {spec.model_fingerprint[:12]}",
        "method": spec.method,
        "hyper-parameters": ", ".join(f"{name}={value}" for name, value in sorted(spec.hyperparameters.items())) or "none",
        "step": str(made.step),
        "seed": str(spec.seed),
        "precision": spec.dtype,
        "forget set": f"SHA-256 `{requested.forget_sha256}`, {requested.characters['forget']:,} characters in"
        f" {requested.documents['forget']} documents",
        "made": f"{made.record.environment.time}, unlearning-bench {made.record.environment.version}, on"
        f" {made.record.environment.device} ({made.record.environment.processor})",
    }
    return "\n".join(
        [
            f"---\n{_front_matter(made)}\n---\n",
            f"# {made.base.rpartition('/')[2]}, made to forget\n",
            f"{made.base} after machine unlearning with `{spec.method}`: a text was to be forgotten, the rest to be kept.\n",
            "## What was done\n",
            _table(("", ""), [*facts.items()]),
            "## What came of it\n",
            "".join(f"- **{label}**: {sentence}\n" for label, sentence in made.sentences),
            "This copy, measured on the test half of each set, against the base model:\n",
            _measured(made.record.baseline.target_test, made.record.operating_points[0].test),
            f"## Limits\n\n{LIMITS}\n",
        ]
    )


def _front_matter(made: Made) -> str:
    return ModelCardData(
        base_model=made.base,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["machine-unlearning", "unlearning-bench", made.record.spec.method],
        **_licence(made.folder),
    ).to_yaml()


def _licence(folder: Path) -> dict[str, Any]:
    """What the base model's own card says of its licence."""
    card = folder / "README.md"
    try:
        told = metadata_load(card) if card.is_file() else None
    except Exception:  # a front matter that is none: nobody says what the licence is
        told = None
    found = {name: str(told[name]) for name in LICENCE if isinstance(told, Mapping) and told.get(name)}
    return found if "license" in found else {"license": UNKNOWN}


def _measured(before: Measurement, after: Measurement) -> str:
    rows = [
        (
            name,
            str(len(after[name].ids)),
            f"{before[name].mean_nll:.3f}",
            f"{after[name].mean_nll:.3f}",
            f"{100 * before[name].top1:.1f} %",
            f"{100 * after[name].top1:.1f} %",
        )
        for name in ("forget", "retain", "general", "holdout")
        if name in before and name in after
    ]
    return _table(("set", "pieces", "loss before, nats a token", "loss after", "next-token accuracy before", "after"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
