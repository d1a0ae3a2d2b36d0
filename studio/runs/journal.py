"""The journal: append-only, one event a line, and readable while it is being written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from studio.events import RunEvent, from_json, to_json

log = logging.getLogger(__name__)


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
    """Yield the events of a journal in order. A last line cut short by a crash is left out, with a log line."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield from_json(line)
            except ValueError as error:
                log.warning("%s, line %d is left out: %s", path, number, error)
