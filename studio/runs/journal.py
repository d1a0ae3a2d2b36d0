"""The journal: append-only, one event a line, and readable while it is being written."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from studio.errors import RunFolderError
from studio.events import RunEvent, RunResumed, from_json, to_json
from studio.files import open_regular
from studio.i18n import tr
from studio.runs.files import inside, open_own

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 1 << 25
"""Bytes of the longest line that is read. A sample of the numerics of a thousand modules has a few hundred thousand."""
MOST_PIECES = 8
"""Pieces of that length after which a line without an end is taken for the end of the journal: holes in a file cost no
disk, and reading a million million bytes of them takes hours.
"""

LINES_BETWEEN_REPORTS = 1000


class Journal:
    """Writes the events of one run. Every event is handed to the system at once, so a crash loses none.

    What cannot be written waits in memory, whole and in order, for the next try.
    """

    def __init__(self, path: Path) -> None:
        """Open the journal, and close a last line that was cut off. Raises `OSError`."""
        self._path = path
        # Not through Python's buffers: of a write that the disk took in part, they do not tell which part.
        self._file = open_own(path, os.O_RDWR | os.O_APPEND)
        self._waiting = bytearray()
        if (size := os.fstat(self._file).st_size) and _last_byte(self._file, size) != b"\n":
            self._waiting += b"\n"

    def append(self, event: RunEvent) -> None:
        """Write one event as one line. Raises `OSError` where that has to wait."""
        self._waiting += f"{to_json(event)}\n".encode()
        self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            FileNotFoundError: the journal, or its folder, was deleted or moved.
            OSError: it cannot be written.
        """
        # A deleted file can still be written, and nobody would ever read it.
        if not os.path.samestat(self._path.stat(), os.fstat(self._file)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))
        while self._waiting:
            written = os.write(self._file, self._waiting)
            del self._waiting[:written]

    def sync(self) -> None:
        """Bring what is written to the disk itself, where it survives a power loss. Raises `OSError`."""
        self.flush()
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file. Raises `OSError`."""
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _last_byte(file: int, size: int) -> bytes:
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1)


def read_journal(path: Path, told: Callable[[int, int], None] | None = None) -> Iterator[RunEvent]:
    """Yield the events of a journal in order. A last line cut short by a crash is left out, with a log line.

    So is every other line that is no event. Now and then `told` hears how many bytes are read, and of how many.
    Raises `RunFolderError` when the journal cannot be read.
    """
    try:
        yield from _read_lines(path, told or (lambda _done, _total: None))
    except FileNotFoundError:
        return
    except OSError as error:
        words = tr("The journal {path} cannot be read: {reason}.")
        raise RunFolderError(words.format(path=path, reason=error.strerror)) from error


def without_lost(events: Iterable[RunEvent]) -> list[RunEvent]:
    """Return events as one line: without those of steps that were lost when the run was cut off, and made again."""
    line: list[RunEvent] = []
    for event in events:
        if isinstance(event, RunResumed) and event.restarted:
            line = [one for one in line if getattr(one, "step", 0) <= event.step]
        line.append(event)
    return line


def _read_lines(path: Path, told: Callable[[int, int], None]) -> Iterator[RunEvent]:
    whole, number, done, pieces = True, 0, 0, 0
    with open_regular(inside(path.parent, path)) as file:
        size = os.fstat(file.fileno()).st_size
        while line := file.readline(MAX_LINE_BYTES):
            begins, whole = whole, line.endswith(b"\n")
            number, done = number + begins, done + len(line)
            pieces = 0 if whole else pieces + 1
            if pieces == MOST_PIECES:
                log.warning("%s ends at line %d, which has no end", path, number)
                return
            if number % LINES_BETWEEN_REPORTS == 0:
                told(done, max(done, size))
            if not begins or line.isspace():  # the rest of a line that is far too long
                continue
            try:
                yield from_json(line)
            except ValueError as error:
                log.warning("%s, line %d is left out: %s", path, number, error)
