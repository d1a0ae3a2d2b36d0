"""Tokenised tables on disk, found again by the content of what they were made from."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from studio.engine.control import Progress, no_progress
from studio.engine.data.readers.files import fingerprint
from studio.engine.data.report import Tally
from studio.errors import DataError
from studio.i18n import tr

log = logging.getLogger(__name__)

VARIABLE = "FINETUNE_STUDIO_CACHE"
_DAYS = 30
"""Tables that nobody used for so long are removed when the next one is written."""


def cache_folder() -> Path:
    """Return where tables are kept; `FINETUNE_STUDIO_CACHE` moves it."""
    chosen = os.environ.get(VARIABLE, "").strip()
    root = Path(chosen).expanduser().absolute() if chosen else user_cache_path("finetune-studio", appauthor=False)
    return root / "data"


def cached_table(key: str, build: Callable[[Path], Tally], progress: Progress) -> tuple[Path, Tally]:
    """Return the table of a key and what was counted while it was made; make it when it is missing or damaged.

    Args:
        key: a name made of safe characters.
        build: writes the table into a file that does not exist yet, and returns the counts.

    Raises:
        DataError: the cache cannot be written, or whatever `build` raises.
    """
    table, record = (cache_folder() / f"{key}{suffix}" for suffix in (".arrow", ".json"))
    tally = _read(table, record, progress)
    if tally is not None:
        return table, tally
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        _remove_unused(table.parent)
        return table, _make(table, record, build)
    except OSError as error:
        raise DataError(
            tr(
                "The cache {folder} cannot be written ({reason}); free some space, or set {variable} to another folder."
            ).format(folder=table.parent, reason=error.strerror or error, variable=VARIABLE)
        ) from error


def _make(table: Path, record: Path, build: Callable[[Path], Tally]) -> Tally:
    """Write table and record; each appears complete, under its name, or not at all."""
    draft = table.with_name(f".{table.stem}.{os.getpid()}.{threading.get_ident()}")
    try:
        tally = build(draft)
        counted = {"sha256": fingerprint(draft, no_progress), "tally": tally.to_json()}
        draft.replace(table)
        draft.write_text(json.dumps(counted), encoding="utf-8")
        draft.replace(record)
    finally:
        draft.unlink(missing_ok=True)
    return tally


def _read(table: Path, record: Path, progress: Progress) -> Tally | None:
    """Return the counts of a whole table and mark it as used; None when there is none or it is damaged."""
    if not (table.is_file() and record.is_file()):
        return None
    try:
        counted = json.loads(record.read_text(encoding="utf-8"))
        tally = Tally.from_json(counted["tally"])
        whole = fingerprint(table, progress) == counted["sha256"]
        os.utime(table)
        os.utime(record)
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        log.warning("The cached table %s is made again: %s", table, error)
        return None
    return tally if whole else None


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - _DAYS * 86400
    for file in folder.iterdir():
        if file.is_file() and file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
