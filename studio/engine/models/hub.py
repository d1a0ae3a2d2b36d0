"""The Hugging Face hub, or the mirror that `HF_ENDPOINT` names: what a repository holds, and getting it.

Only what a model needs is taken: safetensors, JSON, templates and tokenizer files at the top of the
repository; never code, never pickled weights.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.engine.child import ChildFailed
from studio.engine.control import Progress
from studio.i18n import tr

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, ModelInfo


from studio.engine.child import Work, run_in_child

log = logging.getLogger(__name__)

_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "LICENSE*", "NOTICE*"]
_BELOW = ["*/*"]
_SELECTION: dict[str, Any] = {"allow_patterns": _WANTED, "ignore_patterns": _BELOW}
_TIMEOUT_SECONDS = 5.0


class HubError(Exception):
    """The hub cannot give the model; the message is half a sentence that says why."""


def download_into(repository: str, folder: Path, progress: Progress) -> None:
    """Download a model into `folder`. Raises `HubError`."""
    size = _wanted_bytes(ask(repository, "model"))
    _download(repository, size, folder, progress, local_dir=str(folder))
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def download_cached(repository: str, progress: Progress) -> Path:
    """Download a model into the hub's own cache, or find it there; return its folder. Raises `HubError`."""
    from huggingface_hub import constants

    try:
        size = _wanted_bytes(ask(repository, "model"))
    except HubError:
        if cached := find_cached(repository):
            return cached
        raise
    store = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    return Path(_download(repository, size, store, progress))


def find_cached(repository: str) -> Path | None:
    """Return the folder of a model that was downloaded before, without asking the hub."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, local_files_only=True, **_SELECTION))
    except FileNotFoundError:
        return None


def is_repository_id(text: str) -> bool:
    """Return whether `text` could be the id of a repository on the hub, such as `owner/name`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def ask(repository: str, kind: Literal["model", "dataset"]) -> ModelInfo | DatasetInfo:
    """Return what the hub says of a repository, within seconds.

    Raises:
        HubError: the hub cannot be reached, or has no such repository that is open to us.
    """
    from huggingface_hub import HfApi, errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's, by its version

    if os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE"):
        raise HubError(tr("HF_HUB_OFFLINE is set"))
    hub = HfApi(endpoint=_endpoint())
    look = hub.model_info if kind == "model" else hub.dataset_info
    try:
        return look(repository, timeout=_TIMEOUT_SECONDS, files_metadata=True)
    except errors.GatedRepoError as error:
        raise HubError(
            tr("{repository} wants its licence accepted on the hub first").format(repository=repository)
        ) from error
    except errors.RepositoryNotFoundError as error:
        unknown = tr("there is no public model {repository}")
        if kind == "dataset":
            unknown = tr("there is no public dataset {repository}")
        raise HubError(unknown.format(repository=repository)) from error
    except (HTTPError, OSError) as error:
        raise HubError(tr("{hub} cannot be reached").format(hub=_endpoint() or "huggingface.co")) from error


def _wanted_bytes(info: ModelInfo | DatasetInfo) -> int:
    """Return the bytes that a download of a model will take."""
    from huggingface_hub.utils._paths import filter_repo_objects

    files = list(filter_repo_objects(info.siblings or (), key=lambda file: file.rfilename, **_SELECTION))
    if not any(file.rfilename.endswith(".safetensors") for file in files):
        raise HubError(tr("{repository} has no safetensors weights").format(repository=info.id))
    return sum(file.size or 0 for file in files)


def _download(repository: str, size: int, watched: Path, progress: Progress, **options: str) -> str:
    arguments = {"repo_id": repository, **_SELECTION, **options}
    try:
        return str(download_in_child(_snapshot, arguments, watched, size, progress))
    except ChildFailed as error:
        log.warning("The download of %s failed: %s", repository, error)
        raise HubError(tr("the download of {repository} broke off").format(repository=repository)) from error


def _snapshot(arguments: dict[str, Any], _: Progress) -> str:
    """Download; in the child, where the library is imported anew and reads HF_ENDPOINT as it is now."""
    from huggingface_hub import snapshot_download

    return str(snapshot_download(**arguments))


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or None


def download_in_child(work: Work, job: Any, watched: Path, size: int, progress: Progress) -> Any:
    """Return `work(job, …)`, a download that is done in a process of its own.

    Progress (stage `downloading`) is the growth of the files below `watched`, in bytes, of the `size` expected: no
    downloader's own progress bar has to be understood for that.

    Raises:
        ChildFailed: it failed.
        Cancelled: by `progress`; the process is then killed, in the middle of a transfer too.
    """
    before = folder_size(watched)
    return run_in_child(work, job, lambda *_: progress("downloading", min(folder_size(watched) - before, size), size))


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below `folder`; files that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
