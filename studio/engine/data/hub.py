"""Datasets of the hub: `datasets` finds and downloads their files, and our own readers read them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config import DataSource
from studio.engine.child import ChildFailed, run_in_child
from studio.engine.control import Progress
from studio.engine.data.cache import cache_folder
from studio.engine.data.readers.open import CSV, JSON, source_path
from studio.engine.hub.api import HubError, is_repository_id
from studio.engine.hub.download import receive
from studio.engine.hub.repository import RemoteFile, Repository
from studio.engine.hub.sources import source_of
from studio.engine.hub.token import read_token
from studio.engine.hub.watched import download_in_child
from studio.errors import DataError
from studio.files import read_bytes
from studio.i18n import tr

log = logging.getLogger(__name__)

_PACKED = (".gz", ".zip", ".xz", ".zst", ".bz2")
_FILES = (*CSV, *JSON, ".parquet", ".txt", ".md", ".gz", ".zip", ".xz", ".zst")


@dataclass(frozen=True)
class _Dataset:
    """`owner/name`, `owner/name:split` or `owner/name:config:split`."""

    name: str
    config: str | None
    split: str | None


def local_sources(source: DataSource, progress: Progress) -> list[DataSource]:
    """Return a source for each of its files on this machine: itself, or the files of a dataset of the hub.

    Raises:
        DataError: the hub cannot give such a dataset.
        Cancelled: by `progress`.
    """
    dataset = _hub_dataset(source)
    if dataset is None:
        return [source]
    try:
        files = _download(dataset, progress)
    except HubError as error:
        raise DataError(
            tr("There is no file {dataset}, and the hub cannot give such a dataset: {reason}.").format(
                dataset=source.path.strip(), reason=error
            )
        ) from error
    return [source.model_copy(update={"path": file}) for file in files]


def _hub_dataset(source: DataSource) -> _Dataset | None:
    """Return which dataset of the hub a source means; None where it means a file."""
    if os.path.lexists(source_path(source)):
        return None
    name, *parts = source.path.strip().split(":")
    is_file = name.lower().endswith(_FILES) or name.startswith((".", "~"))
    if is_file or "/" not in name or not is_repository_id(name) or len(parts) > 2 or not all(parts):
        return None
    return _Dataset(name, parts[0] if len(parts) == 2 else None, parts[-1] if parts else None)


def _download(dataset: _Dataset, progress: Progress) -> list[str]:
    """Return the dataset's files; where the hub cannot be reached, those that were downloaded before."""
    wanted = json.dumps([dataset.name, dataset.config, dataset.split])
    record = cache_folder() / f"{hashlib.sha256(wanted.encode()).hexdigest()[:32]}.hub.json"
    try:
        repository = source_of("dataset").look(dataset.name, progress)
    except HubError:
        if files := _downloaded_before(record):
            return files
        raise
    try:
        found = run_in_child(_look, dataclasses.asdict(dataset), progress)
        if not found["urls"]:
            raise HubError(_why_no_files(dataset, **found))
        files = _receive(repository, found["urls"], record.parent, progress)
    except ChildFailed as error:
        log.warning("The download of %s failed: %s", dataset.name, error)
        raise HubError(tr("the download of {repository} broke off").format(repository=dataset.name)) from error
    record.write_text(json.dumps(files), encoding="utf-8")
    return files


def _receive(found: Repository, urls: list[str], cache: Path, progress: Progress) -> list[str]:
    """Return the files behind addresses of `datasets`, unpacked. Raises `HubError`, `ChildFailed`, `Cancelled`.

    Those of the dataset's own repository are received as models are, so that nothing is received twice; `datasets`
    downloads all others.
    """
    names = {f"hf://datasets/{found.id}@{found.revision}/{name}": name for name in found.files}
    ours = {url: found.file(names[url]) for url in urls if url in names}
    store = cache / "hub"
    try:
        receive(found, "dataset", list(ours.values()), store, progress)
        places = [str(_named(store, ours[url])) if url in ours else url for url in urls]
    except OSError as error:
        words = tr("{folder} cannot be written: {reason}")
        raise HubError(words.format(folder=store, reason=error.strerror or error)) from error
    if all(url in ours and not url.endswith(_PACKED) for url in urls):
        return places
    job = {"places": places, "unpacked": str(cache / "unpacked")}
    return list(download_in_child(_unpack, job, cache / "unpacked", 0, progress))


def _named(store: Path, file: RemoteFile) -> Path:
    """Return a received file under its own name, which tells its kind."""
    named = store / f"{file.digest}.files" / Path(file.name).name
    if not named.exists():
        named.parent.mkdir(exist_ok=True)
        try:
            os.link(store / file.digest, named)
        except OSError:  # a file system without links
            shutil.copyfile(store / file.digest, named)
    return named


def _look(job: dict[str, Any], progress: Progress) -> dict[str, list[str]]:
    """Find the addresses of a split's files, in a child: there `datasets` reads HF_ENDPOINT as it is now.

    No code of the dataset runs: `datasets` has none run.
    """
    import datasets

    progress("asking_hub", 0, 0)
    token = read_token() or False
    found: dict[str, list[str]] = {"configs": [], "splits": [], "urls": []}
    try:
        files = datasets.load_dataset_builder(job["name"], job["config"], token=token).config.data_files or {}
        found["splits"] = [str(one) for one in files]
        chosen = job["split"] or ("train" if "train" in files or len(files) != 1 else found["splits"][0])
        found["urls"] = [str(url) for url in files.get(chosen, [])]
    except ValueError:  # no such configuration, or there are several and none is the default
        found["configs"] = datasets.get_dataset_config_names(job["name"], token=token)
    except (FileNotFoundError, RuntimeError) as error:  # no data files, or a program in their place
        log.warning("%s cannot be read: %s", job["name"], error)
    return found


def _unpack(job: dict[str, Any], _: Progress) -> list[str]:
    """Return files on this machine, unpacked under a name that still tells their kind; work of a child."""
    import datasets

    settings = datasets.DownloadConfig(cache_dir=job["unpacked"], token=read_token() or False)
    manager = datasets.DownloadManager(download_config=settings)

    def local(place: str) -> str:
        file = str(manager.download(place)) if "://" in place else place
        plain = str(manager.extract(file))
        if plain == file:
            return file
        named = Path(plain + Path(Path(file).stem).suffix)
        if not named.exists():
            os.link(plain, named)
        return str(named)

    return [local(place) for place in job["places"]]


def _downloaded_before(record: Path) -> list[str]:
    """Return the files of an earlier download, if they are all still there."""
    try:
        files = json.loads(read_bytes(record))
    except (OSError, ValueError):
        return []
    return files if all(Path(file).is_file() for file in files) else []


def _why_no_files(dataset: _Dataset, configs: Collection[str], splits: Collection[str], **_: object) -> str:
    if configs and dataset.config not in configs and len(configs) > 1:
        words = tr("{repository} has several configurations ({names}); write {repository}:CONFIGURATION:SPLIT")
        return words.format(repository=dataset.name, names=tr(", ").join(configs))
    if splits:
        words = tr("{repository} has these splits: {names}; write {repository}:SPLIT")
        return words.format(repository=dataset.name, names=tr(", ").join(splits))
    return tr("{repository} holds no data files that can be read").format(repository=dataset.name)
