"""ModelScope, asked through its own library, which is installed on demand (the extra `modelscope`).

The library is imported in a process of its own alone. It would name this computer in every request by a number that it
keeps in the user's home; here it gets a folder that is gone at the end, and so another number each time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from urllib.parse import urlencode

from studio.engine.child import Child, ChildFailed
from studio.engine.control import Progress
from studio.engine.hub.address import MODELSCOPE, Hub
from studio.engine.hub.api import HubError, refusal, refuse_offline, unknown, unreachable
from studio.engine.hub.repository import Found, RemoteFile, Repository, tag_of
from studio.engine.hub.token import read_token
from studio.i18n import tr

log = logging.getLogger(__name__)
_TASK, _FORMAT = "text-generation", "safetensors"
_BRANCH = "master"
_SECONDS = 30.0
_PAGE_ROWS = 50  # it refuses more


class ModelScope:
    """See `Source`. It is asked for models."""

    hub: ClassVar[Hub] = MODELSCOPE

    def search(self, words: str, limit: int) -> list[Found]:
        with _client() as client, _explained():
            return _search(client, words, limit)

    def look(self, repository: str, progress: Progress) -> Repository:
        with Child(_look) as child:
            try:
                answer = child.ask({"repository": repository}, progress, _SECONDS)
            except (TimeoutError, ChildFailed) as error:
                log.warning("%s gave no answer: %s", self.hub.address(), error)
                raise unreachable(self.hub) from error
        if answer["problem"]:
            raise HubError(answer["problem"])
        files = {name: RemoteFile.told(name, *facts) for name, facts in answer["files"].items()}
        return Repository(repository, _BRANCH, files)

    def address_of(self, repository: str, revision: str, file: str) -> str:
        asked = urlencode({"Revision": revision or _BRANCH, "FilePath": file})
        return f"{self.hub.address()}/api/v1/models/{repository}/repo?{asked}"

    def headers(self) -> dict[str, str]:
        token = read_token(self.hub)
        # As in its own client: some of its services want the one, some the other.
        return {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}

    def check(self, response: Any, repository: str) -> None:
        if response.is_error:
            raise _refused(response.status_code, repository)


def _search(client: Any, words: str, limit: int) -> list[Found]:
    found: list[Found] = []
    for number in count(1):
        page = client.list_repos(
            "model",
            search=words or None,
            sort="downloads",
            page_number=number,
            page_size=min(limit, _PAGE_ROWS),
            task=_TASK,
            library=_FORMAT,
        )
        found += [_found(info) for info in page.items if info.repo_id]
        if len(found) >= limit or not page.has_next:
            break
    return found[:limit]


def _found(info: Any) -> Found:
    changed = info.last_modified
    return Found(
        id=info.repo_id,
        bytes=info.file_size or None,
        licence=info.license or tag_of(info.tags, "license"),
        gated=bool(info.gated or info.login_required or info.private),
        downloads=info.downloads,
        updated=changed.date().isoformat() if isinstance(changed, datetime) else "",
    )


def _look(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Work of a child: return size and checksum by the names of the files at the top of a repository."""
    progress("asking_hub", 0, 0)
    try:
        with _client() as client, _explained(job["repository"]):
            return {"problem": "", "files": _files(client, job["repository"])}
    except HubError as error:
        return {"problem": str(error), "files": {}}


def _files(client: Any, repository: str) -> dict[str, tuple[int, str | None]]:
    listed = client.list_repo_files(repository, "model", revision=_BRANCH, recursive=False)
    return {file.path: (file.size, file.sha256) for file in listed if not file.is_dir}


@contextmanager
def _client() -> Iterator[Any]:
    """Yield the library's `HubApi`. Raises `HubError` where we are offline, or the library is not installed."""
    refuse_offline()
    if problem := MODELSCOPE.why_not():
        raise HubError(problem)
    library = import_module(MODELSCOPE.module)
    with TemporaryDirectory() as folder:
        token = read_token(MODELSCOPE) or ""  # without one, the library must not look for another
        own = {"config_dir": Path(folder), "cache_dir": Path(folder)}
        yield library.HubApi(library.HubConfig(endpoint=MODELSCOPE.address(), token=token, **own))


@contextmanager
def _explained(repository: str = "") -> Iterator[None]:
    """Turn what the library raises in this block into a `HubError` that says what it means."""
    library = import_module(MODELSCOPE.module)
    try:
        yield
    except library.HubError as error:
        if repository and isinstance(error, library.NotExistError):
            raise unknown(repository, "model") from error
        status = getattr(error, "status_code", None)
        raise (_refused(status, repository) if status else unreachable(MODELSCOPE)) from error
    except (OSError, ValueError) as error:  # a line that is lost within an answer, or an answer that is no JSON
        raise unreachable(MODELSCOPE) from error


def _refused(status: int, repository: str) -> HubError:
    if status in (401, 403) and repository:
        words = tr("{repository} is not open to all: see {page}, and save the token of an account that may have it")
        return HubError(words.format(repository=repository, page=MODELSCOPE.page_of(repository)))
    return HubError(refusal(status, MODELSCOPE))
