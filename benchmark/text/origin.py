"""Where a task's text is from and whether the model was trained on it, for the record and the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark.corpus import Document
from benchmark.record import TextOrigin
from benchmark.source import ModelSource
from benchmark.splits import Splits
from benchmark.text.folder import manifest_beside
from benchmark.text.manifest import Manifest, Read

BUNDLED = "Bundled with the suite and written for it"


def origin(splits: Splits, source: ModelSource, data: Path | None) -> TextOrigin:
    """What is known of a task's text.

    Args:
        splits: of the task.
        source: the model.
        data: the folder it was read from, None for the bundled text.

    Raises:
        InputError: the manifest of hub text is unreadable.
    """
    found = None if data is None else manifest_beside(data)
    if found is not None:
        return TextOrigin(
            source=_sources(found, splits), membership=_by_set(splits, lambda d: found.membership(d.id)), remarks=_remarks(found, splits)
        )
    told = BUNDLED if data is None else f"The folder {data.name}"
    if source.lab is None or source.lab.base is not None:  # what a model knew before it was taught here is its own affair
        return TextOrigin(source=told, membership=_by_set(splits, lambda d: "unknown"))
    trained = {document.id for document in splits.trained}
    return TextOrigin(source=told, membership=_by_set(splits, lambda d: "known member" if d.id in trained else "known non-member"))


def _by_set(splits: Splits, of: Callable[[Document], str]) -> dict[str, str]:
    """What holds of the documents of each evaluation set; where they differ, all of it."""
    return {
        name: " or ".join(sorted({of(document) for document in (*halves.validation, *halves.test)}))
        for name, halves in splits.evaluation.items()
    }


def _sources(manifest: Manifest, splits: Splits) -> str:
    """Every data set, its revision and licence, and what of it was read."""
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for read in _reads(
        manifest, (*splits.trained, *(d for halves in splits.evaluation.values() for d in (*halves.validation, *halves.test)))
    ):
        pinned = "" if read.pinned else ", not pinned"
        parts[f"{read.repository} at {read.revision[:12]}{pinned} (licence: {read.licence}"].add(read.config or read.split)
    return "; ".join(f"{told}; {', '.join(sorted(read))})" for told, read in sorted(parts.items()))


def _remarks(manifest: Manifest, splits: Splits) -> tuple[str, ...]:
    own = _reads(manifest, (*splits.forget, *splits.evaluation["forget"].test, *splits.evaluation["holdout"].test))
    domains = {manifest.documents[document.id].domain for document in splits.forget}
    fallbacks = [line for domain, line in manifest.fallbacks().items() if domain in domains]
    return tuple(dict.fromkeys([*fallbacks, *(read.note for read in own if read.note)]))


def _reads(manifest: Manifest, documents: Iterable[Document]) -> list[Read]:
    return list({read.name: read for read in (manifest.source(document.id) for document in documents)}.values())
