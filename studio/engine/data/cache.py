"""Datasets on disk, found again by the content of what they were made from."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from studio.engine.control import Progress, no_progress
from studio.engine.data.readers.files import fingerprint
from studio.engine.data.report import Tally
from studio.errors import DataError
from studio.i18n import tr

if TYPE_CHECKING:
    from datasets import Dataset, Features

log = logging.getLogger(__name__)

VARIABLE = "FINETUNE_STUDIO_CACHE"
_RECORD = "record.json"
_DAYS = 30
"""Datasets that nobody used for so long are removed when the next one is written."""
_ROWS_PER_BATCH = 128
"""Rows that are held in memory until they are written to the Arrow file."""


def cache_folder() -> Path:
    """Return where datasets are kept; `FINETUNE_STUDIO_CACHE` moves it."""
    chosen = os.environ.get(VARIABLE, "").strip()
    root = Path(chosen).expanduser().absolute() if chosen else user_cache_path("finetune-studio", appauthor=False)
    return root / "data"


def cached_dataset(
    key: str, features: Features, rows: Callable[[Tally], Iterator[dict[str, Any]]], progress: Progress
) -> tuple[Dataset, Tally]:
    """Return the dataset of a key, memory-mapped, and what was counted while it was made.

    It is made when it is missing or damaged.

    Args:
        key: a hash of everything that decides the rows.
        features: the column types. They are given, because the types that `datasets` guesses change text.
        rows: yields the rows and counts into the tally.

    Raises:
        DataError: the cache cannot be written, or whatever `rows` raises.
    """
    from datasets import Dataset, concatenate_datasets

    folder = cache_folder() / key
    try:
        if not _is_whole(folder, progress):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            _remove_unused(folder.parent)
            _make(folder, features, rows)
        files, tally = _read_record(folder)
        return concatenate_datasets([Dataset.from_file(str(folder / name)) for name in files]), tally
    except OSError as error:
        raise DataError(
            tr(
                "The cache {folder} cannot be written ({reason}); free some space, or set {variable} to another folder."
            ).format(folder=folder.parent, reason=error.strerror or error, variable=VARIABLE)
        ) from error


def _make(folder: Path, features: Features, rows: Callable[[Tally], Iterator[dict[str, Any]]]) -> None:
    """Write the dataset and its record; the folder appears complete, or not at all."""
    from datasets import Dataset, disable_progress_bars
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()  # `rows` reports progress
    draft = Path(mkdtemp(dir=folder.parent, prefix="."))  # of its own: another process may make the same dataset
    tally = Tally()
    try:
        Dataset.from_generator(
            lambda: rows(tally),
            features=features,
            cache_dir=str(draft),
            fingerprint=folder.name,
            writer_batch_size=_ROWS_PER_BATCH,
        )
        files = {
            str(file.relative_to(draft)): fingerprint(file, no_progress) for file in sorted(draft.rglob("*.arrow"))
        }
        record = json.dumps({"files": files, "tally": tally.to_json()})
        (draft / _RECORD).write_text(record, encoding="utf-8")
        if not folder.exists():
            draft.rename(folder)
    except DatasetGenerationError as error:
        raise error.__cause__ or error from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _read_record(folder: Path) -> tuple[dict[str, str], Tally]:
    """Return the SHA-256 of each file by its name, and the counts."""
    record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
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
