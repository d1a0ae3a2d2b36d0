"""Open a file that the user chose: only regular files; everything else is refused with one sentence."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple

from studio.engine.control import Progress
from studio.engine.data.readers.base import Meter
from studio.errors import DataError
from studio.files import open_regular
from studio.i18n import gettext_noop, tr
from studio.text.visible import in_line

PARQUET_MAGIC = b"PAR1"
HEAD = 65536

_KINDS = {
    stat.S_IFIFO: gettext_noop("a pipe"),
    stat.S_IFCHR: gettext_noop("a device"),
    stat.S_IFBLK: gettext_noop("a device"),
    stat.S_IFSOCK: gettext_noop("a socket"),
}
_PACKED = (
    (b"\x1f\x8b", gettext_noop("a gzip archive")),
    (b"PK\x03\x04", gettext_noop("a ZIP archive (or an Excel or Word file)")),
    (b"BZh", gettext_noop("a bzip2 archive")),
    (b"\xfd7zXZ", gettext_noop("an xz archive")),
    (b"\x28\xb5\x2f\xfd", gettext_noop("a Zstandard archive")),
    (b"7z\xbc\xaf", gettext_noop("a 7-Zip archive")),
)
_SETTLED_NS = 5 * 10**9


class _State(NamedTuple):
    """What tells a file from others and from itself before a change."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


_known: dict[_State, str] = {}
"""SHA-256 by state of a file."""


def open_file(path: Path) -> tuple[BinaryIO, int]:
    """Open a regular file; return it with its size in bytes.

    Raises:
        DataError: it is missing, unreadable, a folder, pipe or device, empty, or an archive.
    """
    try:
        _refuse_special(path, path.stat().st_mode)  # before opening: opening a pipe would wait for its writer
        file = open_regular(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    size = os.fstat(file.fileno()).st_size
    try:
        _refuse_packed(path, file.read(8), size)
        file.seek(0)
    except OSError as error:
        file.close()
        raise unreadable(path, error) from error
    except DataError:
        file.close()
        raise
    return file, size


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, which tell its kind."""
    file, _ = open_file(path)
    with file:
        return file.read(HEAD)


def fingerprint(path: Path, progress: Progress) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits; at once where this process knows it already."""
    file, size = open_file(path)
    meter = Meter(progress, "reading_data", size)
    digest = hashlib.sha256()
    with file:
        state = _state(file)
        if state in _known:
            return _known[state]
        while block := file.read(2**20):
            digest.update(block)
            meter.at(file.tell())
        # A file that changed just now may change again without another time of change: clocks tick slowly.
        if max(state.mtime_ns, state.ctime_ns) < time.time_ns() - _SETTLED_NS and _state(file) == state:
            _known[state] = digest.hexdigest()
    return digest.hexdigest()


def _state(file: BinaryIO) -> _State:
    found = os.fstat(file.fileno())
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def size_and_mtime(path: Path) -> tuple[int, int]:
    """Return the size in bytes and the time of the last change in nanoseconds. Raises `DataError`."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return found.st_size, found.st_mtime_ns


def unreadable(path: Path, error: OSError | ValueError) -> DataError:
    """Return the error for a file that the system will not open or read."""
    reason = getattr(error, "strerror", None) or error
    return DataError(tr("{file} cannot be read: {reason}.").format(file=printable(path), reason=str(reason).lower()))


def printable(path: Path) -> str:
    """Return a path for a message, with line breaks and other control characters escaped."""
    return in_line(str(path))


def _refuse_special(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise DataError(tr("{file} is a folder; choose a file inside it.").format(file=printable(path)))
    if not stat.S_ISREG(mode):
        kind = tr(_KINDS.get(stat.S_IFMT(mode), gettext_noop("something else")))
        raise DataError(
            tr("{file} is not an ordinary file but {kind}; choose a JSON, CSV, Parquet, YAML or text file.").format(
                file=printable(path), kind=kind
            )
        )


def _refuse_packed(path: Path, magic: bytes, size: int) -> None:
    if size == 0:
        raise DataError(tr("{file} is empty: it has no rows.").format(file=printable(path)))
    for prefix, kind in _PACKED:
        if magic.startswith(prefix):
            raise DataError(
                tr("{file} is {kind}; unpack it and choose the file inside.").format(
                    file=printable(path), kind=tr(kind)
                )
            )
