"""New lines of a file that another process appends to. What was read is never read again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

CHUNK = 1 << 18  # bytes of one read: a reader gets a long file in pieces
LONGEST = 1 << 24  # bytes of one line; a longer one is left out


class Tail:
    """Reads a growing text file, a chunk at a time.

    Args:
        path: the file; it need not exist yet. What is no regular file is never opened.
        at_end: begin with what comes from now on.
    """

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        self._path = path
        self._offset = self._size() if at_end else 0
        self._rest = b""
        self._skipping = False

    def lines(self) -> list[str]:
        """Return the next complete lines, without their ends; none where nothing has come.

        Raises:
            OSError: the file is there and cannot be read.
        """
        if self._size() <= self._offset:
            return []
        opened = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):  # it was replaced since its size was asked for
                return []
            file.seek(self._offset)
            read = file.read(CHUNK)
        self._offset += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        if lines and self._skipping:
            del lines[0]
            self._skipping = False
        if len(self._rest) > LONGEST:
            self._rest, self._skipping = b"", True
        return [line.decode("utf-8", errors="replace") for line in lines]

    def _size(self) -> int:
        """Bytes of the file; 0 where there is none."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return 0
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
