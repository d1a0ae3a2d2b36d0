"""Where an export goes: chosen, made beside its final place, and moved there only when it is complete."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from studio.engine.export.certificate import FILE_NAME, fingerprint_files, read_certificate
from studio.errors import ExportError
from studio.files import expand_user
from studio.i18n import tr
from studio.runs import RunFolder
from studio.text.numbers import size_text

# Tokenizer, configuration, card and the temporary files of writing them.
_SMALL_FILES = 64 * 2**20


def choose_destination(run: RunFolder, label: str, out: Path | None) -> Path:
    """Return where the export will lie: `out`, or a name of its own in the run's exports folder.

    Raises:
        ExportError: `out` is a file, or holds files that no export of ours wrote.
    """
    if out is None:
        names = itertools.chain([label], (f"{label}-{number}" for number in itertools.count(2)))
        return next(path for name in names if not (path := run.exports / name).exists())
    out = expand_user(out).absolute()
    if out.exists() and not (out.is_dir() and _replaceable(out)):
        raise ExportError(
            tr("{path} already exists and is not an earlier export; choose another folder, or empty it first.").format(
                path=out
            )
        )
    return out


def _replaceable(folder: Path) -> bool:
    """An empty folder, or an earlier export in which nobody has put anything of their own."""
    if not any(folder.iterdir()):
        return True
    if not (folder / FILE_NAME).exists():
        return False
    return fingerprint_files(folder).keys() <= read_certificate(folder).files.keys()


@contextmanager
def staged(destination: Path, weight_bytes: int) -> Iterator[Path]:
    """Yield an empty folder beside `destination`; it becomes `destination` at the end, or is removed on any error.

    Raises:
        ExportError: the place cannot be written, or has no room for `weight_bytes`.
    """
    folder = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
    try:
        with explained(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            _refuse_full(destination.parent, weight_bytes + _SMALL_FILES)
            folder.mkdir()
        yield folder
        with explained(destination):
            _move(folder, destination)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explained(destination: Path) -> Iterator[None]:
    """Turn an error of writing into a sentence for the user."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ExportError(
            tr("The export cannot be written to {path}: {reason}.").format(
                path=destination, reason=getattr(error, "strerror", None) or error
            )
        ) from error


def _refuse_full(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ExportError(
            tr("The export needs {needed} and {folder} has {free} free; make room, or choose another folder.").format(
                needed=size_text(needed), folder=folder, free=size_text(free)
            )
        )


def _move(folder: Path, destination: Path) -> None:
    """Put the complete folder in place; what was there before goes only once the new one stands."""
    old = destination.with_name(f".{destination.name}.{os.getpid()}.old")
    if destination.exists():
        destination.rename(old)
    folder.rename(destination)
    shutil.rmtree(old, ignore_errors=True)
