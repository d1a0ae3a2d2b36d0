"""A small hub on this machine, with as much of the hub's interface as searching and downloading need, and its faults."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "a" * 40
Repositories = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    `drop` and `stall` break after `at` bytes of the body; `status` answers with the status `at`; `other_length` announces
    `at` bytes more than it should; `other_bytes` sends as many others; `whole` ignores the range that is asked for;
    `other_range` begins `at` bytes later than it is asked to.
    """

    kind: Literal["none", "drop", "stall", "status", "other_length", "other_bytes", "whole", "other_range"]
    at: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class LocalHub:
    """What a test sees and sets.

    Attributes:
        requests: the paths that were asked for; `ranges`: of files, the name and the `Range` that was asked for;
            `tokens`: every `Authorization` that came.
        faults: by the name of a file, or of a repository for what is told of it, the faults of its next answers.
        always: the same, of every answer.
        gated: repositories that want a token, which must be `token`.
        facts: by repository, what its description has beside the files.
        elsewhere: where the bytes of files are, if not here: another name of this machine; `shown_elsewhere`: every
            `Authorization` that came there.
        pushed: by repository, the files that were committed to it.
    """

    address: str = ""
    requests: list[str] = field(default_factory=list)
    ranges: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_secret"
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    pushed: dict[str, dict[str, bytes]] = field(default_factory=dict)
    received: dict[str, bytes] = field(default_factory=dict)
    elsewhere: str = ""
    shown_elsewhere: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def next_fault(self, name: str) -> Fault | None:
        waiting = self.faults.get(name)
        return waiting.pop(0) if waiting else self.always.get(name)


class HubHandler(BaseHTTPRequestHandler):
    repositories: ClassVar[Repositories]
    hub: ClassVar[LocalHub]

    def do_GET(self) -> None:
        self.hub.requests.append(self.path)
        token = self.headers.get("Authorization", "")
        if token:
            self.hub.tokens.append(token)
        if self.path.startswith("/elsewhere"):
            self.hub.shown_elsewhere.append(token)
            self.elsewhere(self.path)
            return
        address = urlsplit(self.path)
        kind = "datasets" if address.path.startswith("/api/datasets") else "models"
        if address.path in ("/api/models", "/api/datasets"):
            self._search(kind, parse_qs(address.query))
            return
        path = address.path.removeprefix("/api").removeprefix("/models").removeprefix("/datasets")
        name = "/".join(path.split("/")[1:3])
        files = self.repositories.get(name)
        fault = None if "/resolve/" in path else self.hub.next_fault(name)
        if fault:
            self.answer(b"{}", fault.at, dict(fault.headers))
        elif files is None and name in self.hub.pushed:
            self.json({"id": name, "sha": COMMIT, "siblings": [], "tags": [], **self.hub.facts[name]})
        elif files is None:
            self.answer(b"{}", 404, {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in path and name in self.hub.gated and token != f"Bearer {self.hub.token}":
            self.answer(b"Access to it is restricted.", 403 if token else 401, {"X-Error-Code": "GatedRepo"})
        elif "/resolve/" in path and self.hub.elsewhere:
            self.answer(b"", 302, {"Location": f"{self.hub.elsewhere}/elsewhere{self.path}"})
        elif "/resolve/" in path:
            file = path.partition("/resolve/")[2].partition("/")[2]
            self.file(file, files.get(file))
        elif "/tree/" in path:
            self.json(_listing(files, path.partition("/tree/")[2].partition("/")[2]))
        else:
            siblings = [_sibling(name, content) for name, content in files.items()]
            self.json({"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], **self.hub.facts.get(name, {})})

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_POST(self) -> None:
        """Take a commit as the hub does: large files come before it, into LFS."""
        self.hub.requests.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer(b"{}", 403, {})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            there = name in self.hub.facts
            self.hub.facts.setdefault(
                name, {"private": asked.get("visibility") == "private" or asked.get("private", False)}
            )
            self.hub.pushed.setdefault(name, {})
            made = json.dumps({"url": f"{self.hub.address}/{name}"})
            self.answer(made.encode(), 409 if there else 200, {"Content-Type": "application/json"})
        elif self.path == "/api/validate-yaml":
            self.json({"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            files = [
                {"path": one["path"], "uploadMode": "lfs" if one["size"] > 1000 else "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.json({"files": files})
        elif self.path.endswith("/objects/batch"):
            wanted = json.loads(body)["objects"]
            places = [
                {**one, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{one['oid']}"}}} for one in wanted
            ]
            self.json({"transfer": "basic", "objects": places})
        else:
            self._commit("/".join(self.path.split("/")[3:5]), [json.loads(line) for line in body.splitlines()])

    def do_PUT(self) -> None:
        self.hub.received[self.path.rpartition("/")[2]] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"", 200, {})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.hub.pushed[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.pushed[name][value["path"]] = self.hub.received[value["oid"]]
        self.json({"commitUrl": f"{self.hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def elsewhere(self, path: str) -> None:
        """Answer with a file as the storage does to which the hub leads."""
        name = "/".join(path.split("/")[2:4])
        file = path.partition("/resolve/")[2].partition("/")[2]
        self.file(file, self.repositories[name].get(file))

    def _search(self, kind: str, asked: Mapping[str, list[str]]) -> None:
        if fault := self.hub.next_fault(kind):
            self.answer(b"{}", fault.at, dict(fault.headers))
            return
        words = "".join(asked.get("search", [""])).lower()
        found = [
            {"_id": name, "id": name, **facts}
            for name, facts in self.hub.facts.items()
            if words in name.lower() and facts.get("kind", "models") == kind
        ]
        self.json(found[: int(asked.get("limit", ["100"])[0])])

    def file(self, name: str, content: bytes | None) -> None:
        if content is None:
            self.answer(b"", 404, {"X-Error-Code": "EntryNotFound"})
            return
        asked = self.headers.get("Range", "")
        self.hub.ranges.append((name, asked))
        fault = self.hub.next_fault(name) or Fault("none")
        if fault.kind == "status":
            self.answer(b"{}", fault.at, dict(fault.headers))
            return
        begin = 0 if not asked or fault.kind == "whole" else int(asked.removeprefix("bytes=").rstrip("-"))
        if begin >= len(content) and begin:
            self.answer(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
            return
        begin += fault.at if fault.kind == "other_range" else 0
        tag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if asked and fault.kind != "whole":
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        body = content[begin:]
        if fault.kind == "other_bytes":
            body = bytes(byte ^ 1 for byte in body)
        if fault.kind == "other_length":
            headers["Content-Length"] = str(len(body) + fault.at)
        self.answer(body, 206 if "Content-Range" in headers else 200, headers, fault)

    def json(self, value: Any) -> None:
        self.answer(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})

    def answer(self, content: bytes, status: int, headers: dict[str, str], fault: Fault | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = fault is not None and fault.kind in ("drop", "stall") and fault.at < len(content)
        with suppress(ConnectionError):  # whoever is sent a wrong length may close the line first
            self.wfile.write(content[: fault.at] if cut and fault else content)
            self.wfile.flush()
        if cut and fault and fault.kind == "stall":
            self.hub.released.wait(60)
        if cut:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    """A file as the hub describes it: large ones lie in LFS, which knows their SHA-256."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    described: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith(".safetensors"):
        described["lfs"] = {"size": len(content), "sha256": sha256(content), "pointerSize": 134}
    return described


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
def local_hub(
    repositories: Repositories, folder: Path, monkeypatch: pytest.MonkeyPatch, speaks: type[HubHandler] = HubHandler
) -> Iterator[LocalHub]:
    """Serve repositories (name to files) as the hub, with the cache of its own client below `folder`."""
    hub = LocalHub()
    handler = type("Hub", (speaks,), {"repositories": repositories, "hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HOME", str(folder / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    # The variables are read when the library is imported, which in this process was before.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub" / "hub"))
    yield hub
    hub.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def hub_to_push_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Serve an empty hub, whose token is in the keyring of the tests."""
    with local_hub({}, folder, monkeypatch) as hub:
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.keyring_of_tests.Keyring")
        monkeypatch.setenv("STUDIO_TEST_KEYRING", str(folder / "keyring.json"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # a storage of its own, which the hub of the tests has not
        (folder / "keyring.json").write_text(f'{{"Finetune Studio {hub.address}": "hf_secret"}}', encoding="utf-8")
        yield hub
