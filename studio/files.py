"""Files that others wrote, read within bounds: regular files only, of bounded length, JSON of bounded depth.

A pipe would block its reader for ever and a device never ends. So a file is opened without waiting, and looked at
before its first byte is read. What is not a regular file is refused with an `OSError`, as a missing one is.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import Counter
from io import BufferedReader
from pathlib import Path
from typing import Any

from studio.i18n import tr

MAX_TEXT_BYTES = 1 << 20
"""Bytes of the longest text that is read whole where no other bound is given."""
MAX_JSON_BYTES = 1 << 25
MAX_DEPTH = 64
"""Deepest nesting of a JSON value. Our own files and those of models need less than ten."""
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def name_problem(path: Path) -> str:
    """Return why the libraries that read weights cannot open a path, whose name is not UTF-8; "" where it is."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        words = tr("The name of {path} is not UTF-8 text, so that no weights can be read there; rename the folder.")
        return words.format(path=path)
    return ""


def is_file(path: Path) -> bool:
    """Return whether there is a regular file. Unlike `Path.is_file` this raises for no name, however odd."""
    return os.path.isfile(path)  # noqa: PTH113


def expand_user(path: str | Path) -> Path:
    """Return a path with `~` resolved; `~nosuchuser` stays as it is, for `Path.expanduser` would raise."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def is_special(path: Path) -> bool:
    """Return whether something stands at a path that is no regular file: a folder, a pipe, a socket or a device."""
    return os.path.lexists(path) and not is_file(path)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading, in binary.

    Raises:
        OSError: there is none, its name cannot be one, or it is a folder, a pipe, a socket or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    except ValueError as error:  # NUL, or half of a surrogate pair, in the name
        raise OSError(errno.EINVAL, tr("no file can have this name"), repr(path)) from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, tr("it is a folder"), str(path))
    raise OSError(errno.EINVAL, tr("it is not a regular file"), str(path))


def read_bytes(path: Path, most: int = MAX_TEXT_BYTES) -> bytes:
    """Return the bytes of a regular file. Raises `OSError`, also where there are more than `most`."""
    with open_regular(path) as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, tr("it is far too long"), str(path))
    return found


def read_tail(path: Path, most: int) -> bytes:
    """Return the last bytes of a regular file, all of it where it has no more than `most`. Raises `OSError`."""
    with open_regular(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read(most)


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a UTF-8 file, without a byte order mark. Raises `OSError` and `UnicodeDecodeError`."""
    return read_bytes(path, most).decode("utf-8-sig")


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Return the JSON object that a file holds. Raises `OSError` and `ValueError`."""
    return parse_object(read_bytes(path, most))


def parse_object(text: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `ValueError`: it is none, a key stands in it twice, or it nests too deeply."""
    try:
        value = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
        if b"\\ud" in text or b"\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair can be neither shown nor written
    except RecursionError as error:
        raise ValueError(tr("it is nested too deeply")) from error
    if not isinstance(value, dict):
        raise ValueError(tr("a JSON object was expected"))  # noqa: TRY004 - what the caller handles is one kind
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raise `ValueError` where a JSON value nests deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(tr("it is nested too deeply"))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(tr("{key} stands in it twice").format(key=repr(twice[:60])))
    return values
