"""The output of a command: its result goes to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeAlias

from studio.events import spell_non_finite
from studio.i18n import tr
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


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Console:
    """The two streams of one command.

    Inside its `with` block, anything else that is written to stdout (by a library, for example) goes to stderr.
    So stdout holds only the result: one JSON object with `--json`, the text otherwise.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out: TextIO = sys.stdout
        self._line = ProgressLine(sys.stderr)
        self._redirected = contextlib.redirect_stdout(sys.stderr)

    def __enter__(self) -> Console:
        self._redirected.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._line.clear()
        self._redirected.__exit__(*exception)

    def result(self, values: Mapping[str, Any], text: str) -> None:
        """Write the command's result. JSON is ASCII, so that it is valid in any encoding of a pipe."""
        self._line.clear()
        words = json.dumps(spell_non_finite(values), default=str, allow_nan=False) if self.as_json else text
        print(words, file=self._out, flush=True)

    def note(self, text: str) -> None:
        """Write a line to stderr."""
        self._line.clear()
        print(text, file=sys.stderr, flush=True)

    def failure(self, sentence: str) -> None:
        """Write why the command failed; with `--json` also as `error` in the result."""
        self.note(sentence)
        if self.as_json:
            self.result({"error": sentence}, "")

    def progress(self, stage: str, done: int, total: int, *details: str) -> None:
        """Show the progress of a long action, with details after the bar. The engine takes it as its `Progress`."""
        self._line.show_stage(stage, done, total, *details)


Action: TypeAlias = Callable[[argparse.Namespace, Console], int]


def add_command(commands: Commands, name: str, help: str, action: Action) -> argparse.ArgumentParser:
    """Add a command with the options that every command has; `action` returns the exit status."""
    parser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(action=action)
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """Return a type for argparse: a whole number that is not smaller than `least`."""

    def count(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                tr("{text} is not a whole number of {least} or more").format(text=text, least=least)
            )
        return int(text)

    return count


def table_lines(rows: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> Iterator[str]:
    """Lay out rows of cells in columns. The columns numbered in `words` are aligned left, the others right."""
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        padded = []
        for column, cell in enumerate(cells):
            room = " " * (widths[column] - width_of(cell))
            padded.append(cell + room if column in words else room + cell)
        yield "  ".join(padded).rstrip()
