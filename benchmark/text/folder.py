"""The folder of text that a run reads: the user's own, the bundled one, or hub text laid out once in the results folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import JsonValue

from benchmark import store
from benchmark.corpus import Document, load_corpus
from benchmark.errors import InputError
from benchmark.source import LAB, ModelSource
from benchmark.text import manifest as manifests
from benchmark.text.build import MOST, SEED, build
from benchmark.text.manifest import Entry, Manifest, sha256
from benchmark.text.overlap import ORDER, SHARE, WORDS
from benchmark.text.rows import CHARACTERS, MOST_READ
from benchmark.text.sources import HUB, Role, text, texts

HUB_TEXT = "hub-text"
"""Sub-folder of the results folder with the text itself: a run that goes on needs no network, and every process reads the same."""


def named_text(data: Path | None, source: ModelSource) -> str | None:
    """The hub text that a run is on: the one `--data` names, the default for a hub model, or None for a folder or the bundled text."""
    if data is not None:
        return str(data) if str(data) in texts() else None
    return HUB if source.repository is not None else None


def data_folder(data: Path | None, source: ModelSource, out: Path, most: Mapping[Role, int] = MOST) -> Path | None:
    """The folder to read documents from; None for the bundled text.

    Hub text is fetched, de-duplicated and laid out in the results folder, with a manifest beside it, unless it is there: at most so
    many documents of a domain in each role, or all of them where they are there already.

    Raises:
        InputError: the hub text cannot be had, or the model is the lab's, which has text of its own.
    """
    name = named_text(data, source)
    if name is None:
        return data
    if source.lab is not None:
        raise InputError(f"--data {name}: a lab's models were trained on a text of their own; use it without --model {LAB}")
    folder = out / HUB_TEXT / name
    known = manifests.read(out, name)
    good = {_request(name, source.repository, counts) for counts in (most, MOST)}
    if known is None or known.request not in good or not folder.is_dir() or load_corpus(folder).fingerprint() != known.fingerprint:
        _lay_out(name, source.repository, out, most)
    return folder


def manifest_beside(folder: Path) -> Manifest | None:
    """The manifest of hub text that was laid out in this folder; None for any other folder.

    Raises:
        InputError: it is unreadable.
    """
    return manifests.read(folder.parent.parent, folder.name) if folder.parent.name == HUB_TEXT else None


def _rules(most: Mapping[Role, int]) -> dict[str, JsonValue]:
    return {
        "documents": {str(role): count for role, count in most.items()},
        "drawn_by_seed": SEED,
        "characters": CHARACTERS,
        "rows_looked_at": MOST_READ,
        "words_of_a_run": WORDS,
        "overlap_from_share": SHARE,
        "overlap_kept_first": list(ORDER),
    }


def _request(name: str, model: str | None, most: Mapping[Role, int]) -> str:
    """Of everything that decides which documents there are and what is said of them."""
    return manifests.digest({"text": text(name).model_dump(mode="json"), "rules": _rules(most), "model": model})


def _lay_out(name: str, model: str | None, out: Path, most: Mapping[Role, int]) -> None:
    built = build(text(name), model, most)
    folder = out / HUB_TEXT / name
    for domain, found in built.items():
        store.write_file(folder / f"{domain}.jsonl.gz", _json_lines(found.documents))
    documents = {
        document.id: Entry(domain, document.role or "", sha256(document.text), found.origin[document.id])
        for domain, found in built.items()
        for document in found.documents
    }
    manifest = Manifest(
        text=name,
        rules=_rules(most),
        request=_request(name, model, most),
        fingerprint=load_corpus(folder).fingerprint(),
        domains={domain: found.domain for domain, found in built.items()},
        documents=documents,
    )
    manifests.write(out, manifest)  # last: it says that the text is whole


def _json_lines(documents: Iterable[Document]) -> bytes:
    lines = [json.dumps({"id": document.id, "text": document.text, "split": document.role}) for document in documents]
    return gzip.compress("\n".join(lines).encode(), mtime=0)
