"""What can be seen of a run at a glance, however long it is: the disk space it takes, and the course of its loss."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.events import StepCompleted, from_json
from studio.files import open_regular
from studio.runs.folder import RunFolder

POINTS = 40
WINDOW = 1 << 13  # bytes that are read at each place of the journal; a step takes some hundred


@dataclass(frozen=True)
class Glance:
    """`size`: bytes of all files of the folder; `losses`: losses of some steps, evenly spread over the journal."""

    size: int
    losses: tuple[float, ...]


def glance_at(folder: RunFolder) -> Glance:
    """Return what is seen of a run; what cannot be read counts as nothing."""
    return Glance(_size_of(folder.path), tuple(_losses(folder.journal)))


def _size_of(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_size
            except OSError:  # it was removed since the folder was listed
                continue
    return total


def _losses(journal: Path) -> Iterator[float]:
    """Yield the loss of the first step after each of `POINTS` places of the journal."""
    try:
        with open_regular(journal) as file:
            size = os.fstat(file.fileno()).st_size
            last = -1
            for place in range(POINTS):
                file.seek(max(last, size * place // POINTS))
                begin = file.tell()
                lines = file.read(WINDOW).split(b"\n")
                # The first line is the rest of one, and the last may be cut off.
                at = begin
                for number, line in enumerate(lines[:-1]):
                    at += len(line) + 1
                    whole = number > 0 or begin == 0 or begin == last
                    if whole and (loss := _loss(line)) is not None:
                        last = at
                        yield loss
                        break
    except OSError:
        return


def _loss(line: bytes) -> float | None:
    if b'"step_completed"' not in line[:64]:
        return None
    try:
        event = from_json(line)
    except ValueError:
        return None
    return event.loss if isinstance(event, StepCompleted) and math.isfinite(event.loss) else None
