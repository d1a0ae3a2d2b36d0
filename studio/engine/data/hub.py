"""Datasets of the hub: `datasets` finds and downloads their files, and our own readers read them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config import DataSource
from studio.engine.child import ChildFailed
from studio.engine.control import Progress
from studio.engine.data.cache import cache_folder
from studio.engine.data.readers.open import CSV, JSON, source_path
from studio.engine.hub.api import HubError, ask, is_repository_id
from studio.engine.hub.token import read_token
from studio.engine.hub.watched import download_in_child
from studio.errors import DataError
from studio.files import read_bytes
from studio.i18n import tr

log = logging.getLogger(__name__)

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
    from huggingface_hub import constants

    wanted = json.dumps([dataset.name, dataset.config, dataset.split])
    record = cache_folder() / f"{hashlib.sha256(wanted.encode()).hexdigest()[:32]}.hub.json"
    try:
        ask(dataset.name, "dataset")
        store = Path(constants.HF_HUB_CACHE) / f"datasets--{dataset.name.replace('/', '--')}"
        job = {**dataclasses.asdict(dataset), "unpacked": str(record.parent / "unpacked")}
        found = download_in_child(_fetch, job, store, 0, progress)
    except HubError:
        if files := _downloaded_before(record):
            return files
        raise
    except ChildFailed as error:
        log.warning("The download of %s failed: %s", dataset.name, error)
        raise HubError(tr("the download of {repository} broke off").format(repository=dataset.name)) from error
    if not found["files"]:
        raise HubError(_why_no_files(dataset, **found))
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(found["files"]), encoding="utf-8")
    return list(found["files"])


def _fetch(job: dict[str, Any], _: Progress) -> dict[str, list[str]]:
    """Download the files of a split, in a child: there `datasets` is imported anew and reads HF_ENDPOINT as it is now.

    No code of the dataset runs: `datasets` has none run. A packed file is unpacked under a name that still tells its
    kind.
    """
    import datasets

    token = read_token() or False
    settings = datasets.DownloadConfig(cache_dir=job["unpacked"], token=token)
    manager = datasets.DownloadManager(download_config=settings)

    def local(url: str) -> str:
        file = str(manager.download(url))
        plain = str(manager.extract(file))
        if plain == file:
            return file
        named = Path(plain + Path(Path(file).stem).suffix)
        if not named.exists():
            os.link(plain, named)
        return str(named)

    found: dict[str, list[str]] = {"configs": [], "splits": [], "files": []}
    try:
        files = datasets.load_dataset_builder(job["name"], job["config"], token=token).config.data_files or {}
        found["splits"] = [str(one) for one in files]
        chosen = job["split"] or ("train" if "train" in files or len(files) != 1 else found["splits"][0])
        found["files"] = [local(url) for url in files.get(chosen, [])]
    except ValueError:  # no such configuration, or there are several and none is the default
        found["configs"] = datasets.get_dataset_config_names(job["name"], token=token)
    except (FileNotFoundError, RuntimeError) as error:  # no data files, or a program in their place
        log.warning("%s cannot be read: %s", job["name"], error)
    return found


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
