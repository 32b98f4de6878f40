"""As much of the hub's protocol as fetching a model takes, on this machine, for the hub's own client to speak to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

HEAD_COMMIT = "c" * 40


@dataclass
class HubServer:
    """Repositories with one commit each, called `main` and by its hash."""

    folders: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    """Repositories whose files need a token."""
    asked: list[str] = field(default_factory=list)
    """Every path that was asked for."""
    tokens: set[str | None] = field(default_factory=set)
    """Every `Authorization` that came."""

    def answer(self, path: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        self.asked.append(path)
        self.tokens.add(token)
        api, _, rest = path.partition("/api/models/")
        if rest:
            repository, revision, tree = self._api(rest)
            if repository not in self.folders:
                return _refused(404, "RepoNotFound")
            if revision not in ("main", HEAD_COMMIT):
                return _refused(404, "RevisionNotFound")
            files = self._files(repository)
            if tree:
                entries = [{"type": "file", "path": name, "size": len(data), "oid": _etag(data)} for name, data in files.items()]
                return 200, {}, json.dumps(entries).encode()
            info = {"id": repository, "sha": HEAD_COMMIT, "siblings": [{"rfilename": name} for name in files]}
            return 200, {}, json.dumps(info).encode()
        repository, _, rest = api.removeprefix("/").partition("/resolve/")
        name = rest.partition("/")[2]
        if repository in self.gated and token is None:
            return _refused(401, "GatedRepo")
        data = self._files(repository).get(name)
        if data is None:
            return _refused(404, "EntryNotFound")
        return 200, {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": HEAD_COMMIT}, data

    def _api(self, rest: str) -> tuple[str, str, bool]:
        parts = rest.split("/")
        kind, revision = (parts[2], parts[3]) if len(parts) > 3 else ("", "main")
        return "/".join(parts[:2]), revision, kind == "tree"

    def _files(self, repository: str) -> dict[str, bytes]:
        folder = self.folders[repository]
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub on this machine, which the hub's client in this process asks instead of the real one."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = hub.answer(unquote(urlsplit(self.path).path), self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 -- the name that the base class calls

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        yield hub
        server.shutdown()


def _refused(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"X-Error-Code": code}, b""


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
