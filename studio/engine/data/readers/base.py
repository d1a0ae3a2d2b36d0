"""What every reader gives: rows as they stand in the file, and lines that could not be read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from studio.engine.control import Progress
from studio.engine.data.report import Remark

# One row larger than this is not a row of a dataset but a file of another kind; it also bounds the memory.
MAX_ROW_BYTES = 128 * 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One row. Text is as it stands in the file, and so are numbers: as text.

    Attributes:
        number: the line it begins in, or its position from 1 in a list or a Parquet file.
        values: its fields by column name.
        notes: what is to be said of it.
    """

    number: int
    values: dict[str, Any]
    notes: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Broken:
    """A place that cannot be read.

    Attributes:
        line: the line, from 1.
        what: the part of a sentence that says what is wrong with it.
        fatal: whether what follows it cannot be read either, so that it cannot be skipped.
    """

    line: int
    what: str
    fatal: bool = False


class Meter:
    """Reports bytes done of a file, at most twenty times a second, so that Cancel works and costs nothing."""

    def __init__(self, progress: Progress, stage: str, total: int) -> None:
        self._progress = progress
        self._stage = stage
        self._total = total
        self._next = 0.0

    def at(self, done: int) -> None:
        """Report the position. Raises `Cancelled` when the user cancelled."""
        now = time.monotonic()
        if now >= self._next or done >= self._total:
            self._next = now + 0.05
            self._progress(self._stage, min(done, self._total), self._total)
