"""The files of a run folder, read as what they should be. A run folder may come from a stranger.

Whoever reads a file of a run reads it here, or as `studio.events` does for a line of the journal: the length is
bounded, only regular files are opened, and each value that is known has its type and range.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypedDict

from studio.errors import RunFolderError
from studio.files import MAX_JSON_BYTES, read_json
from studio.i18n import tr
from studio.runs.files import inside
from studio.schema import Count, Moment, Range, Seconds, read_as

MAX_STATE_BYTES = 1 << 20
RESULT_RECORD = "adapter.json"


class StoredModel(TypedDict, total=False):
    """The base of a run."""

    path: str
    name: str
    kind: str


class StoredLosses(TypedDict, total=False):
    """Validation losses, mean nats a supervised token."""

    first: float | None
    last: float | None


class StoredRetention(TypedDict):
    """Base perplexity divided by perplexity."""

    retention: float


class StoredState(TypedDict, total=False):
    """What is known of state.json; more may stand in it. Times are seconds."""

    status: str
    format: Count
    created: Moment
    changed: Moment
    error: str
    model: StoredModel
    method: str
    precision: str
    base_dtype: str
    launch: str
    updates: Count
    planned_updates: Count
    seconds: Seconds
    validation_loss: StoredLosses | None
    retention: StoredRetention | None


class StoredPrint(TypedDict):
    """Size in bytes and SHA-256 of a file."""

    bytes: Annotated[int, Range(0, 2**63)]
    sha256: str


class StoredBase(TypedDict, total=False):
    """base.json: what the base was."""

    path: str
    base_files: dict[str, StoredPrint]
    other_files: dict[str, StoredPrint]


class StoredResult(TypedDict, total=False):
    """adapter/adapter.json: what the trained part was when it was saved."""

    step: Count
    update: Count
    files: dict[str, StoredPrint]


class StoredManifest(TypedDict):
    """manifest.json: the files of a checkpoint."""

    files: dict[str, StoredPrint]


class StoredScaler(TypedDict):
    """The loss scale of a checkpoint."""

    scale: Annotated[float, Range(0, 2.0**127)]
    good_updates: Count


class StoredPosition(TypedDict):
    """How far a run had come: attempts, applied updates, and batches taken."""

    step: Count
    update: Count
    batch: Count


class StoredProgress(TypedDict, total=False):
    """What is known of `run` in the state.json of a checkpoint; more stands in it."""

    calm: bool
    validation_loss: float | None


class StoredCheckpoint(TypedDict, total=False):
    """state.json of a checkpoint: how far the run had come."""

    format: Count
    scaler: StoredScaler | None
    position: StoredPosition
    run: StoredProgress


def read_stored(path: Path, kind: Any, most: int = MAX_STATE_BYTES) -> dict[str, Any]:
    """Return a JSON file of a run folder as it stands, numbers that are not finite as words.

    Args:
        kind: the TypedDict that says what is known of it.
        most: bytes that it may have.

    Raises:
        RunFolderError: it is missing or damaged.
    """
    try:
        values = read_json(inside(path.parent, path), most)
        read_as(kind, values)
    except (OSError, ValueError) as error:
        words = tr("{file} in {folder} is damaged: {reason}.")
        if isinstance(error, OSError):
            words = tr("{file} in {folder} cannot be read: {reason}.")
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunFolderError(words.format(file=path.name, folder=path.parent, reason=reason)) from error
    return values


def read_base(folder: Path) -> dict[str, StoredPrint] | None:
    """Return what a run folder knows of the files of its base; None where it knows nothing, as in earlier versions.

    Raises:
        RunFolderError: base.json is damaged.
    """
    path = folder / "base.json"
    return read_stored(path, StoredBase, MAX_JSON_BYTES).get("base_files") if path.exists() else None
