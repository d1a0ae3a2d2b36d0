"""As much of ModelScope's library as the studio asks: what it calls and reads, and the routes behind that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen


class HubError(Exception):
    status_code: int | None = None


class NotExistError(HubError):
    pass


@dataclass
class HubConfig:
    endpoint: str
    token: str
    config_dir: Path
    cache_dir: Path


@dataclass
class HubApi:
    config: HubConfig

    def list_repos(self, repo_type: str, *, task: str, library: str, **asked: Any) -> SimpleNamespace:
        asked = {name: value for name, value in asked.items() if value is not None}
        data = self._ask("openapi/v1/models", "data", {**asked, "filter.task": task, "filter.library": library})
        page = asked["page_number"]
        return SimpleNamespace(
            items=[_info(one) for one in data["models"]],
            has_next=page * asked["page_size"] < data["total_count"],
        )

    def list_repo_files(self, repo_id: str, repo_type: str, *, revision: str, recursive: bool) -> list[SimpleNamespace]:
        asked = {"Revision": revision, "Recursive": str(recursive)}
        data = self._ask(f"api/v1/models/{repo_id}/repo/files", "Data", asked)
        return [
            SimpleNamespace(path=one["Path"], size=one["Size"], sha256=one.get("Sha256"), is_dir=one["Type"] == "tree")
            for one in data["Files"]
        ]

    def _ask(self, path: str, envelope: str, asked: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {self.config.token}"} if self.config.token else {}
        request = Request(f"{self.config.endpoint}/{path}?{urlencode(asked)}", headers=headers)
        try:
            with urlopen(request) as answer:
                return json.load(answer)[envelope]
        except HTTPError as error:
            problem = NotExistError() if error.code == 404 else HubError()
            problem.status_code = error.code
            raise problem from error


def _info(told: dict[str, Any]) -> SimpleNamespace:
    names = ("file_size", "license", "gated", "login_required", "private", "downloads")
    changed = told.get("last_modified")
    return SimpleNamespace(
        repo_id=told["id"],
        tags=told.get("tags", []),
        last_modified=datetime.fromisoformat(changed) if changed else None,
        **{name: told.get(name) for name in names},
    )
