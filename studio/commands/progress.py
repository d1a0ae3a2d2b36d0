"""Progress: one line that is rewritten on a terminal, a new line every few seconds in a file or a pipe."""

from __future__ import annotations

import shutil
import time
import unicodedata
from typing import TextIO

from studio.text.numbers import size_text
from studio.text.words import stage_text

BAR_WIDTH = 24
REDRAW_SECONDS = 0.1
PLAIN_SECONDS = 10.0


class ProgressLine:
    """The progress of one command on `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._stage = ""
        self._text = ""
        self._shown = float("-inf")
        self._width = 0

    def show_stage(self, stage: str, done: int, total: int, *details: str) -> None:
        """Show `done` of `total` (0: not known) of a stage. Calls in quick succession are not all drawn."""
        now = time.monotonic()
        patience = REDRAW_SECONDS if self._live else PLAIN_SECONDS
        if stage == self._stage and now - self._shown < patience and done != total:
            return
        text = "  ".join((*progress_parts(stage, done, total), *details))
        if text == self._text and not self._live:
            return
        self._stage, self._shown, self._text = stage, now, text
        self._write(text)

    def clear(self) -> None:
        """Erase the line, so that other text can be written."""
        if self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        if not self._live:
            print(text, file=self._stream, flush=True)
            return
        text, width = clip(text, shutil.get_terminal_size().columns - 1)
        self._stream.write(f"\r{text}{' ' * (self._width - width)}")
        self._stream.flush()
        self._width = width


def progress_parts(stage: str, done: int, total: int) -> tuple[str, ...]:
    """Return the title of a stage, a bar and a count as text."""
    title = stage_text(stage)
    if not total:
        return (title,)
    filled = round(BAR_WIDTH * min(done / total, 1.0))
    bar = "█" * filled + "░" * (BAR_WIDTH - filled)
    if stage == "downloading":
        return title, bar, f"{size_text(done)} / {size_text(total)}"
    return title, bar, f"{done}/{total}"


def clip(text: str, columns: int) -> tuple[str, int]:
    """Return the part of `text` that fits, and the columns that it takes; Chinese characters take two."""
    width = 0
    for place, character in enumerate(text):
        wide = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width + wide > columns:
            return text[:place], width
        width += wide
    return text, width


def width_of(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    return clip(text, 10**6)[1]
