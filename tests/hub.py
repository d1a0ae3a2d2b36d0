"""A small hub on this machine, with as much of the hub's interface as downloads need."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from huggingface_hub import constants

COMMIT = "a" * 40
Repositories = Mapping[str, Mapping[str, bytes]]


class _Hub(BaseHTTPRequestHandler):
    repositories: ClassVar[Repositories]
    requests: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        path = self.path.partition("?")[0].removeprefix("/api").removeprefix("/models").removeprefix("/datasets")
        name = "/".join(path.split("/")[1:3])
        files = self.repositories.get(name)
        if files is None:
            self._answer(b"{}", 404, {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in path:
            self._file(files.get(path.partition("/resolve/")[2].partition("/")[2]))
        elif "/tree/" in path:
            self._json(_listing(files, path.partition("/tree/")[2].partition("/")[2]))
        else:
            siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
            self._json({"id": name, "sha": COMMIT, "siblings": siblings, "tags": []})

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _file(self, content: bytes | None) -> None:
        if content is None:
            self._answer(b"", 404, {"X-Error-Code": "EntryNotFound"})
            return
        tag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self._answer(content, 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: Any) -> None:
        self._answer(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})

    def _answer(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _listing(files: Mapping[str, bytes], folder: str) -> list[dict[str, Any]]:
    """What lies directly in a folder of a repository."""
    entries: dict[str, dict[str, Any]] = {}
    for name, content in files.items():
        inside = name.removeprefix(f"{folder}/") if folder else name
        if folder and inside == name:
            continue
        path = name.removesuffix(inside) + inside.partition("/")[0]
        kind = "file" if path == name else "directory"
        entries[path] = {"type": kind, "path": path, "size": len(content) * (kind == "file"), "oid": "0" * 40}
    return list(entries.values())


@contextmanager
def local_hub(repositories: Repositories, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serve repositories (name to files) as the hub, with its cache below `folder`; yield the paths that are asked."""
    requests: list[str] = []
    handler = type("Hub", (_Hub,), {"repositories": repositories, "requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(folder / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    # The variables are read when the library is imported, which in this process was before.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub" / "hub"))
    yield requests
    server.shutdown()
    thread.join()
    server.server_close()
