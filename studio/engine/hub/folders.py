"""Where downloaded models are: `OWNER/NAME` below the user's models folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.engine.hub.address import HUGGING_FACE
from studio.files import read_json
from studio.paths import home

ORIGIN = ".hub.json"
"""The file in which a downloaded model keeps where it comes from: hub, id, revision and checksums."""
STORE = ".parts"
# The cache of the hub's own client: `models--owner--name`, in it `snapshots`, `blobs` and `refs`.
CACHED = "models--"
SNAPSHOTS = "snapshots"
_SHA256_DIGITS = 64
_NO_OWNER = "hub"  # the owner of models that have none in their id, such as gpt2


@dataclass(frozen=True)
class Origin:
    """Where a model was downloaded from Hugging Face's hub.

    Attributes:
        repository: its id on the hub.
        revision: the commit.
        digests: SHA-256 of its large files by name, where the download kept them.
    """

    repository: str
    revision: str
    digests: Mapping[str, str]


def models_folder() -> Path:
    """Return where downloaded models go; it need not exist yet."""
    return home() / "models"


def folder_of(repository: str) -> Path:
    """Return where a model is, or will be, when it is downloaded."""
    return models_folder() / (repository if "/" in repository else f"{_NO_OWNER}/{repository}")


def draft_of(folder: Path) -> Path:
    """Return where a model is while it is being downloaded."""
    return folder.with_name(f".{folder.name}.partial")


def repository_of(folder: Path) -> str:
    """Return the id of the model whose place a folder is, "" for any other folder. Nothing is read."""
    if folder.parent.parent != models_folder():
        return ""
    owner = folder.parent.name
    return folder.name if owner == _NO_OWNER else f"{owner}/{folder.name}"


def downloaded(repository: str) -> Path | None:
    """Return the folder of a model that was downloaded, without asking the hub."""
    folder = folder_of(repository)
    return folder if (folder / ORIGIN).is_file() else None


def list_downloaded() -> list[str]:
    """Return the ids of all models that were downloaded."""
    return sorted(repository_of(origin.parent) for origin in models_folder().glob(f"*/*/{ORIGIN}"))


def list_unfinished() -> dict[str, int]:
    """Return the ids of the models whose download was broken off, and how many bytes of each are here."""
    found = {}
    for store in models_folder().glob(f"*/.*.partial/{STORE}"):
        folder = store.parent.with_name(store.parent.name[1:].removesuffix(".partial"))
        found[repository_of(folder)] = sum(file.stat().st_size for file in store.iterdir())
    return found


def origin_of(folder: Path) -> Origin | None:
    """Return where a model folder was downloaded from.

    None where nothing tells, as with a folder of the user's, and where it was another hub than Hugging Face's: there
    the id may be that of another model, and an export must not name it.
    """
    store = folder.parents[1]
    if folder.parent.name == SNAPSHOTS and store.name.startswith(CACHED):
        return Origin(store.name.removeprefix(CACHED).replace("--", "/"), folder.name, {})
    try:
        found: dict[str, Any] = read_json(folder / ORIGIN)
        if found.get("source", HUGGING_FACE.name) != HUGGING_FACE.name:
            return None
        digests = {name: digest for name, digest in found["files"].items() if len(digest) == _SHA256_DIGITS}
        return Origin(str(found["id"]), str(found["revision"]), digests)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
