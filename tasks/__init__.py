"""The bundled tasks: one module a domain, two tasks each, over the documents in `tasks/corpus`."""

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
"""Folder of the bundled documents, one sub-folder a domain."""
