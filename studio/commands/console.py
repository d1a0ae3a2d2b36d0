"""Where a command's words go: its result to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO, TypeAlias

from studio.commands.progress import ProgressLine, width_of
from studio.events import spell_non_finite
from studio.i18n import tr

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Console:
    """The two streams of one command.

    While it is entered, whatever else writes to stdout (a library, say) lands on stderr, so that stdout holds
    the result alone: one JSON object with `--json`, else the text.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out: TextIO = sys.stdout
        self._line = ProgressLine(sys.stderr)
        self._redirected = contextlib.redirect_stdout(sys.stderr)

    def __enter__(self) -> Console:
        self._redirected.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.clear()
        self._redirected.__exit__(kind, error, trace)

    def result(self, values: Mapping[str, Any], text: str) -> None:
        """Write the command's result. ASCII alone in JSON: it is then valid whatever encoding a pipe has."""
        self._line.clear()
        words = json.dumps(spell_non_finite(values), default=str, allow_nan=False) if self.as_json else text
        print(words, file=self._out, flush=True)

    def note(self, text: str) -> None:
        """Tell the person at the terminal something."""
        self._line.clear()
        print(text, file=sys.stderr, flush=True)

    def failure(self, sentence: str) -> None:
        """Say why the command failed; a program that reads JSON gets the sentence as `error`."""
        self.note(sentence)
        if self.as_json:
            self.result({"error": sentence}, "")

    def progress(self, stage: str, done: int, total: int, *details: str) -> None:
        """Show how far a long action is, with details behind the bar; serves as the engine's `Progress`."""
        self._line.show_stage(stage, done, total, *details)


Action: TypeAlias = Callable[[argparse.Namespace, Console], int]


def add_command(commands: Commands, name: str, help: str, action: Action) -> argparse.ArgumentParser:
    """Add a command with the options that all have; `action` returns the exit status."""
    parser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(action=action)
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads a whole number from the command line, and refuses smaller ones in words."""

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
