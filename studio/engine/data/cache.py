"""Tables on disk, found again by the content of what they were made from."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from studio.engine.control import Progress, no_progress
from studio.engine.data.readers.files import fingerprint
from studio.engine.data.report import Tally
from studio.errors import DataError
from studio.files import expand_user, read_json
from studio.i18n import tr
from studio.paths import home
from studio.text.numbers import size_text

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

VARIABLE = "FINETUNE_STUDIO_CACHE"
_RECORD = "record.json"
_TABLE = "rows.arrow"
_DAYS = 30
"""Datasets that nobody used for so long are removed when the next one is written."""
LIMIT = 20 * 2**30
"""Bytes of all datasets; beyond it those that were not used for longest are removed."""
_RESERVE = 2**30
"""Bytes that are left free on the disk."""
_BETWEEN_LOOKS = 64 * 2**20
"""Bytes that are written between two looks at the free space."""


def cache_folder() -> Path:
    """Return where datasets are kept: in the app's data folder. `FINETUNE_STUDIO_CACHE` moves it."""
    chosen = os.environ.get(VARIABLE, "").strip()
    root = expand_user(chosen).absolute() if chosen else home() / "cache"
    return root / "data"


def cached_tables(
    key: str, schema: pa.Schema, batches: Callable[[Tally], Iterator[pa.RecordBatch]], size: int, progress: Progress
) -> tuple[tuple[Path, ...], Tally]:
    """Return the Arrow files of the dataset of a key, and what was counted while it was made.

    It is made when it is missing or damaged.

    Args:
        key: a hash of everything that decides the rows.
        batches: yields the rows and counts into the tally.
        size: bytes of the file that the rows are made from; the dataset takes about as many.

    Raises:
        DataError: the cache cannot be written or the disk is full, or whatever `batches` raises.
    """
    folder = cache_folder() / key
    try:
        if not _is_whole(folder, progress):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            _make_room(folder.parent, size)
            _make(folder, schema, batches)
        files, tally = _read_record(folder)
        return tuple(folder / name for name in files), tally
    except OSError as error:
        raise DataError(
            tr(
                "The cache {folder} cannot be written ({reason}); free some space, or set {variable} to another folder."
            ).format(folder=folder.parent, reason=error.strerror or error, variable=VARIABLE)
        ) from error


def _make(folder: Path, schema: pa.Schema, batches: Callable[[Tally], Iterator[pa.RecordBatch]]) -> None:
    """Write the dataset and its record; the folder appears complete, or not at all."""
    import pyarrow as pa

    draft = Path(mkdtemp(dir=folder.parent, prefix="."))  # of its own: another process may make the same dataset
    tally = Tally()
    table = draft / _TABLE
    looked_at = 0
    try:
        with table.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for batch in batches(tally):
                writer.write_batch(batch)
                if file.tell() > looked_at + _BETWEEN_LOOKS:
                    looked_at = file.tell()
                    _refuse_full(folder.parent, 0)
        record = json.dumps({"files": {_TABLE: fingerprint(table, no_progress)}, "tally": tally.to_json()})
        (draft / _RECORD).write_text(record, encoding="utf-8")
        if not folder.exists():
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _make_room(folder: Path, size: int) -> None:
    """Remove datasets that were not used for long, or for longest while all are too large. Raises `DataError`."""
    _remove_unused(folder)
    places = sorted((record.parent for record in folder.glob(f"*/{_RECORD}")), key=lambda place: place.stat().st_mtime)
    sizes = {place: sum(file.stat().st_size for file in place.iterdir()) for place in places}
    left = sum(sizes.values())
    for place in places:
        if left + size <= LIMIT and shutil.disk_usage(folder).free >= size + _RESERVE:
            break
        shutil.rmtree(place, ignore_errors=True)
        left -= sizes[place]
    _refuse_full(folder, size)


def _refuse_full(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _RESERVE:
        raise DataError(
            tr(
                "The disk of the cache {folder} has {free} left; the tokens of this file need {size}, and {reserve} "
                "must stay free; free some space, or set {variable} to another folder."
            ).format(
                folder=folder,
                free=size_text(free),
                size=size_text(size),
                reserve=size_text(_RESERVE),
                variable=VARIABLE,
            )
        )


def _read_record(folder: Path) -> tuple[dict[str, str], Tally]:
    """Return the SHA-256 of each file by its name, and the counts."""
    record = read_json(folder / _RECORD)
    return dict(record["files"]), Tally.from_json(record["tally"])


def _is_whole(folder: Path, progress: Progress) -> bool:
    """Return whether a dataset is there and undamaged; mark it as used then."""
    if not folder.is_dir():
        return False
    try:
        files, _ = _read_record(folder)
        whole = bool(files) and all(fingerprint(folder / name, progress) == digest for name, digest in files.items())
        os.utime(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        log.warning("The cached dataset %s is made again: %s", folder, error)
        return False
    return whole


def _remove_unused(folder: Path) -> None:
    """Remove what was not used for long: datasets, and files that versions before this one wrote."""
    oldest = time.time() - _DAYS * 86400
    for place in folder.iterdir():
        if place.stat().st_mtime >= oldest:
            continue
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
