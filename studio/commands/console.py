"""The output of a command: its result goes to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeAlias

from typing_extensions import override

from studio.events import spell_non_finite
from studio.i18n import tr
from studio.text.numbers import size_text
from studio.text.visible import visible
from studio.text.words import STAGES_IN_BYTES, stage_text

BAR_WIDTH = 24
REDRAW_SECONDS = 0.1
PLAIN_SECONDS = 10.0


class LastingStream(io.TextIOBase):
    """Writes to a stream as long as that is possible. Later text goes nowhere.

    A reader that has gone (a closed pipe, a lost terminal) or a full disk must not end what the program does.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @override
    def write(self, text: str) -> int:
        with self._lasting():
            self._stream.write(text)
        return len(text)

    @override
    def flush(self) -> None:
        with self._lasting():
            self._stream.flush()

    @override
    def isatty(self) -> bool:
        return self._stream.isatty()

    @override
    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    @override
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @contextlib.contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # the latter: the stream is closed
            redirect_nowhere(self._stream)


def redirect_nowhere(stream: TextIO) -> None:
    """Let a stream that cannot be written end in nothing, what waits in its buffer included."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


class ProgressLine:
    """The progress of one command on `stream`."""

    def __init__(self, stream: TextIO | LastingStream) -> None:
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
    if stage in STAGES_IN_BYTES:
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
    So stdout holds only the result: one JSON object with `--json`, the text otherwise. Nothing fails because nobody
    reads it any more.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out: TextIO = sys.stdout
        self._err = LastingStream(sys.stderr)
        self._line = ProgressLine(self._err)
        self._redirected = contextlib.ExitStack()

    def __enter__(self) -> Console:
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
            self._redirected.enter_context(redirect(self._err))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._line.clear()
        self._redirected.__exit__(*exception)

    def result(self, values: Mapping[str, Any], text: str) -> None:
        """Write the command's result. JSON is ASCII, so that it is valid in any encoding of a pipe."""
        self._line.clear()
        words = json.dumps(spell_non_finite(values), default=str, allow_nan=False) if self.as_json else visible(text)
        try:
            print(words, file=self._out, flush=True)
        except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
            redirect_nowhere(self._out)
        except OSError:
            redirect_nowhere(self._out)  # what waits in its buffer must not fail again at the end
            raise

    def note(self, text: str) -> None:
        """Write a line to stderr."""
        self._line.clear()
        print(visible(text), file=self._err, flush=True)

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
