"""ModelScope on this machine: the routes that its library asks, and a library that is little more than those."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typing_extensions import override

from tests.hub import HubHandler, LocalHub, Repositories, local_hub, sha256

STAND_IN = Path(__file__).parent / "stand_ins"


class _ModelScope(HubHandler):
    @override
    def do_GET(self) -> None:
        self.hub.requests.append(self.path)
        shown = [self.headers.get(name, "") for name in ("Authorization", "Cookie")]
        self.hub.tokens += filter(None, shown)
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path.startswith("/elsewhere"):
            self.hub.shown_elsewhere += shown
            name = address.path.removeprefix("/elsewhere/")
            self.file(asked["FilePath"], self.repositories[name].get(asked["FilePath"]))
        elif address.path == "/openapi/v1/models":
            self._models(asked)
        else:
            name, _, route = address.path.removeprefix("/api/v1/models/").partition("/repo")
            self._repository(name, route, asked, shown[0])

    def _models(self, asked: dict[str, str]) -> None:
        if fault := self.hub.next_fault("models"):
            self.answer(b"{}", fault.at, dict(fault.headers))
            return
        words = asked.get("search", "").lower()
        found = [{"id": name, **facts} for name, facts in self.hub.facts.items() if words in name.lower()]
        number, size = int(asked["page_number"]), int(asked["page_size"])
        page = found[(number - 1) * size : number * size]
        data = {"models": page, "total_count": len(found), "page_number": number, "page_size": size}
        self.json({"success": True, "data": data})

    def _repository(self, name: str, route: str, asked: dict[str, str], token: str) -> None:
        files = self.repositories.get(name)
        if files is None or asked["Revision"] != "master":
            self.answer(b'{"Code": 10010205001, "Success": false}', 404, {"Content-Type": "application/json"})
        elif name in self.hub.gated and token != f"Bearer {self.hub.token}":
            self.answer(b'{"Code": 10010201002, "Success": false}', 403, {"Content-Type": "application/json"})
        elif route == "/files":
            self.json({"Code": 200, "Success": True, "Data": {"Files": [_described(*one) for one in files.items()]}})
        elif self.hub.elsewhere:
            place = f"{self.hub.elsewhere}/elsewhere/{name}?{urlsplit(self.path).query}"
            self.answer(b"", 302, {"Location": place})
        else:
            self.file(asked["FilePath"], files.get(asked["FilePath"]))


def _described(name: str, content: bytes) -> dict[str, Any]:
    return {
        "Name": name,
        "Path": name,
        "Type": "blob",
        "Size": len(content),
        "Sha256": sha256(content),
        "CommittedDate": int(datetime(2026, 3, 4).timestamp()),
    }


@contextmanager
def local_modelscope(
    repositories: Repositories, folder: Path, monkeypatch: pytest.MonkeyPatch, *, stand_in: bool = True
) -> Iterator[LocalHub]:
    """Serve repositories (name to files) as ModelScope, and have models taken from there.

    `stand_in` puts one in the place of ModelScope's own, for this process and those it starts.
    """
    with local_hub(repositories, folder, monkeypatch, _ModelScope) as hub:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there, and it is not to be asked
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.address)
        monkeypatch.setenv("FINETUNE_STUDIO_HUB", "modelscope")
        if stand_in:
            monkeypatch.syspath_prepend(STAND_IN)
            monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
            monkeypatch.delitem(sys.modules, "modelscope_hub", raising=False)
        yield hub
