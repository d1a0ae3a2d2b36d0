"""Downloading a model: complete in the user's models folder, or not there at all.

Only what a model needs is taken: safetensors, JSON, templates and tokenizer files at the top of the repository; never
code, never pickled weights.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from filelock import FileLock, Timeout

from studio.engine.child import ChildFailed, run_in_child
from studio.engine.control import Progress
from studio.engine.hub.address import Kind
from studio.engine.hub.api import HubError, is_repository_id
from studio.engine.hub.folders import ORIGIN, STORE, downloaded, draft_of, folder_of, models_folder
from studio.engine.hub.repository import RemoteFile, Repository
from studio.engine.hub.sources import source_of
from studio.engine.hub.transfer import Patience, download_job, receive_files
from studio.i18n import tr
from studio.paths import home
from studio.text.numbers import size_text

log = logging.getLogger(__name__)

_WEIGHTS, _INDEX, _SHARDS = "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"
_WANTED = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "LICENSE*", "NOTICE*")
_PROGRAMS = (".py", ".sh", ".bat", ".exe", ".so", ".dll")
_SPARE_BYTES = 64 << 20
PATIENCE = Patience()


def download_model(repository: str, progress: Progress) -> Path:
    """Return the folder of a model in the models folder; download it where it is not there.

    What was received of a download that was broken off, in whichever way, is not received again.

    Raises:
        HubError: the hub cannot give it, or the disk has no room for it.
        Cancelled: by `progress`. What has been received stays (`discard`).
    """
    if not is_repository_id(repository):
        raise HubError(tr("{text} is not the id of a model, such as owner/name").format(text=repository))
    folder = folder_of(repository)
    try:
        with alone(folder, progress):
            if not downloaded(repository):
                if folder.exists():
                    words = tr("{folder} is there already and was not downloaded here; move it away first")
                    raise HubError(words.format(folder=folder))
                download_into(repository, draft_of(folder), progress)
                draft_of(folder).rename(folder)
    except OSError as error:
        words = tr("{folder} cannot be written: {reason}")
        raise HubError(words.format(folder=folder, reason=error.strerror or error)) from error
    return folder


def discard(repository: str) -> None:
    """Remove what is here of a download that was broken off. Raises `HubError` while it is under way."""

    def refuse(*_: object) -> None:
        raise HubError(tr("{repository} is being downloaded").format(repository=repository))

    folder = folder_of(repository)
    with alone(folder, refuse):
        shutil.rmtree(draft_of(folder), ignore_errors=True)


def download_into(repository: str, folder: Path, progress: Progress) -> None:
    """Download a model into a folder, which may hold what an earlier attempt has received.

    Raises:
        HubError: the hub cannot give it, or the disk has no room for it.
        OSError: the folder cannot be written.
        Cancelled: by `progress`.
    """
    source = source_of("model")
    found = source.look(repository, progress)
    files = wanted_files(found)
    store = folder / STORE
    store.mkdir(parents=True, exist_ok=True)
    _clear(store, files)
    receive(found, "model", files, store, progress)
    digests = {file.name: file.digest for file in files}
    origin = {
        "id": repository,
        "source": source.hub.name,
        "hub": source.hub.address(),
        "revision": found.revision,
        "files": digests,
    }
    (folder / ORIGIN).write_text(json.dumps(origin, indent=1), encoding="utf-8")
    _name_files(store, folder, files)


def receive(found: Repository, kind: Kind, files: list[RemoteFile], store: Path, progress: Progress) -> None:
    """Receive files of a repository into a folder, each under the name of its checksum.

    Raises:
        HubError: the hub cannot give them, or the disk has no room for them.
        OSError: the folder cannot be written.
        Cancelled: by `progress`.
    """
    store.mkdir(parents=True, exist_ok=True)
    _check_room(store, files)
    job = download_job(found.id, kind, found.revision, files, store, PATIENCE)
    try:
        problem = run_in_child(receive_files, job, progress)
    except ChildFailed as error:
        log.warning("The download of %s failed: %s", found.id, error)
        problem = tr("the download of {repository} broke off").format(repository=found.id)
    if problem:
        raise HubError(problem)


def _name_files(store: Path, folder: Path, files: list[RemoteFile]) -> None:
    """Give every file its name. Two may have the same bytes, and so the same checksum."""
    last = {file.digest: file for file in files}
    for file in files:
        if file is not last[file.digest]:
            shutil.copyfile(store / file.digest, folder / file.name)
    for file in last.values():
        (store / file.digest).replace(folder / file.name)
    shutil.rmtree(store)


def wanted_files(found: Repository) -> list[RemoteFile]:
    """Return the files of a repository that a model needs. Raises `HubError` where it is no model that can be used."""
    if "config.json" not in found.files:
        words = tr("{repository} has no config.json, so it is not a model in the format of transformers")
        if "adapter_config.json" in found.files:
            words = tr("{repository} is an adapter, not a whole model; take the model that it was trained on")
        raise HubError(words.format(repository=found.id))
    shards = (_SHARDS,) if _INDEX in found.files else ()
    weights = [name for name in found.files if _fits(name, (_WEIGHTS,) if _WEIGHTS in found.files else shards)]
    if not weights:
        raise HubError(tr("{repository} has no safetensors weights").format(repository=found.id))
    others = [name for name in found.files if _fits(name, _WANTED) and not name.lower().endswith(_PROGRAMS)]
    return [found.file(name) for name in sorted({*weights, *others})]


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file lies at the top of the repository and has such a name."""
    return not any(sign in name for sign in "/\\:\0") and any(fnmatchcase(name, pattern) for pattern in patterns)


def _clear(store: Path, files: list[RemoteFile]) -> None:
    """Remove what belongs to another version of the model."""
    kept = {name for file in files for name in (file.digest, f"{file.digest}.part")}
    for left in store.iterdir():
        if left.name not in kept:
            left.unlink()


def _check_room(store: Path, files: list[RemoteFile]) -> None:
    names = {name for file in files for name in (file.digest, f"{file.digest}.part")}
    here = sum(file.stat().st_size for file in store.iterdir() if file.name in names)
    missing = sum(file.size for file in files) - here + _SPARE_BYTES
    free = shutil.disk_usage(store).free
    if missing > free:
        words = tr("{needed} are needed on the disk, and {free} are free")
        raise HubError(words.format(needed=size_text(missing), free=size_text(free)))


@contextmanager
def alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Let one process at a time download a model; others wait for it. The system frees the lock of one that is gone."""
    name = "--".join(folder.relative_to(models_folder()).parts)
    path = home() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=0.1)
            break
        except Timeout:
            progress("waiting", 0, 0)
    try:
        yield
    finally:
        lock.release()
