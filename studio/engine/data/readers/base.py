"""What every reader yields: unchanged rows, and lines that cannot be read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from studio.engine.control import Progress
from studio.engine.data.report import Remark

# Bounds the memory. A longer row is not a row of a dataset; the file is of another kind.
MAX_ROW_BYTES = 128 * 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One row. Text is unchanged, and numbers are the text that is in the file, so that nothing is rounded.

    Attributes:
        number: the line it begins in, or its position from 1 in a list or a Parquet file.
        values: its fields by column name.
        notes: remarks on the row.
    """

    number: int
    values: dict[str, Any]
    notes: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Broken:
    """A place that cannot be read.

    Attributes:
        line: the line, from 1.
        what: what is wrong with it, as part of a sentence.
        fatal: whether the rest of the file cannot be read either, so that the line cannot be skipped.
    """

    line: int
    what: str
    fatal: bool = False


class Meter:
    """Reports how many bytes of a file are done, at most 20 times a second. Cancel works through these reports."""

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
