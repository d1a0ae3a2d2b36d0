"""The journal: append-only, one event a line, and readable while it is being written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from studio.errors import RunFolderError
from studio.events import RunEvent, from_json, to_json
from studio.files import open_regular
from studio.i18n import tr

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 1 << 25
"""Bytes of the longest line that is read. A sample of the numerics of a thousand modules has a few hundred thousand."""


class Journal:
    """Writes the events of one run. Every event is handed to the system at once, so a crash loses none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", newline="\n", buffering=1)

    def append(self, event: RunEvent) -> None:
        """Write one event as one line."""
        self._file.write(to_json(event) + "\n")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_journal(path: Path) -> Iterator[RunEvent]:
    """Yield the events of a journal in order. A last line cut short by a crash is left out, with a log line.

    So is every other line that is no event. Raises `RunFolderError` when the journal cannot be read.
    """
    try:
        yield from _read_lines(path)
    except FileNotFoundError:
        return
    except OSError as error:
        words = tr("The journal {path} cannot be read: {reason}.")
        raise RunFolderError(words.format(path=path, reason=error.strerror)) from error


def _read_lines(path: Path) -> Iterator[RunEvent]:
    whole, number = True, 0
    with open_regular(path) as file:
        while line := file.readline(MAX_LINE_BYTES):
            begins, whole = whole, line.endswith(b"\n")
            number += begins
            if not begins or not line.strip():  # the rest of a line that is far too long
                continue
            try:
                yield from_json(line.decode(errors="replace"))
            except ValueError as error:
                log.warning("%s, line %d is left out: %s", path, number, error)
