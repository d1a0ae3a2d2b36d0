"""Where an export goes: chosen, made beside its final place, and moved there only when it is complete."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from studio.engine.disk import why_not_written
from studio.engine.export.certificate import FILE_NAME, read_certificate
from studio.engine.models.files import FilePrint, sha256
from studio.errors import ExportError
from studio.files import expand_user, is_file
from studio.i18n import tr
from studio.runs import draft_name, remove_drafts
from studio.text.numbers import size_text

# Tokenizer, configuration, card and the temporary files of writing them.
_SMALL_FILES = 64 * 2**20
# Files that a sentence names; the others are counted.
_NAMED = 3


def check_destination(out: Path | None) -> Path | None:
    """Return the folder that the user asks for, with `~` and links resolved; None where none was asked for.

    Raises:
        ExportError: it is a file, or holds anything that no export of ours wrote, or that was changed since.
    """
    if out is None:
        return None
    folder = expand_user(out).resolve()
    if not os.path.lexists(folder):
        return folder
    if not folder.is_dir() or (any(folder.iterdir()) and not is_file(folder / FILE_NAME)):
        raise ExportError(
            tr("{path} already exists and is not an earlier export; choose another folder, or empty it first.").format(
                path=folder
            )
        )
    if own := _of_somebody(folder):
        words = tr(
            "{path} holds files that its certificate does not list, or that were changed since: {files}; "
            "choose another folder, or move them away first."
        )
        raise ExportError(words.format(path=folder, files=_listed(own)))
    return folder


def _of_somebody(folder: Path) -> list[str]:
    """Return what lies in the folder of an earlier export and is not, byte for byte, what that export wrote."""
    if not any(folder.iterdir()):
        return []
    written = read_certificate(folder).files
    return [
        name
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or not path.is_dir())
        and path != folder / FILE_NAME
        and ((name := path.relative_to(folder).as_posix()) not in written or not _is_as_written(path, written[name]))
    ]


def _listed(names: list[str]) -> str:
    listed, more = tr(", ").join(names[:_NAMED]), len(names) - _NAMED
    return tr("{names} and {count} more").format(names=listed, count=more) if more > 0 else listed


def _is_as_written(path: Path, written: FilePrint) -> bool:
    return is_file(path) and path.stat().st_size == written["bytes"] and sha256(path) == written["sha256"]


@contextmanager
def staged(wanted: Path, weight_bytes: int) -> Iterator[Path]:
    """Yield an empty folder beside `wanted`, which `put_in_place` or `put_under_own_name` moves; else it is removed.

    What earlier exports left there when they were killed is removed first.

    Raises:
        ExportError: the place cannot be written, or has no room for `weight_bytes`.
    """
    with explained(wanted):
        wanted.parent.mkdir(parents=True, exist_ok=True)
        remove_drafts(wanted.parent)
        _refuse_full(wanted.parent, weight_bytes + _SMALL_FILES)
        folder = _make_draft(wanted)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_draft(wanted: Path) -> Path:
    """Make a folder that no other export has, also none of this process."""
    for name in _numbered(wanted.name):
        folder = wanted.with_name(draft_name(name, "partial"))
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        break
    return folder


def _numbered(name: str) -> Iterator[str]:
    return itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))


def put_under_own_name(draft: Path, wanted: Path) -> Path:
    """Move a complete export to the first name that is free, as the last step, so that no other one has it as well.

    Returns:
        Where it lies: `wanted`, or that with a number.

    Raises:
        ExportError: it cannot be moved there.
    """
    with explained(wanted):
        for path in map(wanted.with_name, _numbered(wanted.name)):
            if os.path.lexists(path):
                continue
            try:
                draft.rename(path)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
            else:
                break
    return path


def put_in_place(draft: Path, folder: Path) -> None:
    """Move a complete export to where it was asked for. An earlier one goes only once the new one stands.

    Raises:
        ExportError: it cannot be moved there, or somebody has put something of their own there meanwhile.
    """
    check_destination(folder)
    old = folder.with_name(draft_name(folder.name, "old"))
    with explained(folder):
        if folder.exists():
            folder.rename(old)
        try:
            draft.rename(folder)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def explained(destination: Path) -> Iterator[None]:
    """Turn an error of writing into a sentence for the user."""
    try:
        yield
    except Exception as error:
        reason = why_not_written(error) or (str(error) if isinstance(error, SafetensorError) else "")
        if not reason:
            raise
        raise ExportError(
            tr("The export cannot be written to {path}: {reason}.").format(path=destination, reason=reason)
        ) from error


def _refuse_full(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ExportError(
            tr("The export needs {needed} and {folder} has {free} free; make room, or choose another folder.").format(
                needed=size_text(needed), folder=folder, free=size_text(free)
            )
        )
