"""Split a stream of JSON into the elements of a list, or into values that follow each other, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from studio.engine.data.readers.base import MAX_ROW_BYTES
from studio.engine.data.readers.json_values import Malformed
from studio.i18n import tr

_SIGN = re.compile(r'["\[\]{},]')
_REST_OF_STRING = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Element:
    """The text of one element, and the line and column (from 1) where it begins."""

    text: str
    line: int
    column: int


class ElementScanner:
    """Cuts text into elements by counting brackets outside strings. The parser checks the inside later.

    Args:
        blocks: the text of the file.
        listed: True for the elements of one top-level list, False for values that follow each other.
    """

    def __init__(self, blocks: Iterable[str], listed: bool) -> None:
        self._blocks = blocks
        self._cut = self._listed if listed else self._following
        self._open = listed  # whether the end of the list is still to come
        self._text = ""
        self._start = 0  # where what is not yet cut begins
        self._at = 0  # where the scan goes on
        self._line = 1  # the place of `_start` in the file
        self._column = 1
        self._in_string = False
        self._depth = 0
        self._after_comma = False

    def __iter__(self) -> Iterator[Element]:
        """Yield the elements. Raises `Malformed`, with the place in the file, where none can be cut out."""
        more: list[str] = []
        size = 0
        for block in self._blocks:
            more.append(block)
            size += len(block)
            # A long element is joined only when it has doubled: joined block by block, it would take quadratic time.
            if size >= len(self._text) - self._start:
                yield from self._read("".join(more))
                more, size = [], 0
        yield from self._read("".join(more))
        if self._open or self._depth:
            raise self._malformed(tr("cut off in the middle of a row; the file may be incomplete"))
        if self._take(len(self._text)) is not None:
            raise self._malformed(tr("not valid JSON (something stands after the last row)"))

    def _read(self, text: str) -> Iterator[Element]:
        self._text = self._text[self._start :] + text
        self._at -= self._start
        self._start = 0
        yield from self._scan()
        if len(self._text) - self._start > MAX_ROW_BYTES:
            raise self._malformed(tr("a row longer than {limit} MB").format(limit=MAX_ROW_BYTES // 2**20))

    def _scan(self) -> Iterator[Element]:
        while self._pass_string() and (found := _SIGN.search(self._text, self._at)):
            self._at = found.end()
            self._in_string = found[0] == '"'
            element = None if self._in_string else self._cut(found[0])
            if element is not None:
                yield element
        self._at = self._at if self._in_string else len(self._text)

    def _pass_string(self) -> bool:
        """Go to the end of the string that the scan is in, if any; return whether it has been read that far."""
        if not self._in_string:
            return True
        rest = _REST_OF_STRING.match(self._text, self._at)
        self._at = rest.end() if rest else self._at
        if not self._text.startswith('"', self._at):
            return False
        self._at += 1
        self._in_string = False
        return True

    def _listed(self, sign: str) -> Element | None:
        """One punctuation mark of a list; return the element that it ends."""
        if self._depth > 1 or (self._depth == 1 and sign in "[{"):
            self._depth += _step(sign)
            return None
        if self._depth == 0:
            if not self._open or sign != "[" or self._take(self._at - 1) is not None:
                raise self._malformed(tr("not valid JSON (something stands outside the list)"))
            self._advance(self._at)
            self._depth = 1
            return None
        if sign == "}":
            raise self._malformed(tr("not valid JSON (a closing brace too many)"))
        element = self._take(self._at - 1)
        if element is None and (sign == "," or self._after_comma):
            raise self._malformed(tr("not valid JSON (a comma too many)"))
        self._advance(self._at)
        self._after_comma = sign == ","
        if sign == "]":
            self._depth, self._open = 0, False
        return element

    def _following(self, sign: str) -> Element | None:
        """One punctuation mark of values that follow each other; return the value that it ends."""
        if self._depth == 0 and (sign not in "[{" or self._text[self._start : self._at - 1].strip()):
            raise self._malformed(tr("not valid JSON (something stands outside the rows)"))
        self._depth += _step(sign)
        return self._take(self._at) if self._depth == 0 else None

    def _take(self, end: int) -> Element | None:
        """Return what stands before `end`, None when that is only space."""
        text = self._text[self._start : end]
        stripped = text.lstrip()
        self._advance(end - len(stripped))
        if not stripped:
            return None
        element = Element(stripped.rstrip(), self._line, self._column)
        self._advance(end)
        return element

    def _advance(self, end: int) -> None:
        lines = self._text.count("\n", self._start, end)
        last = self._text.rfind("\n", self._start, end)
        self._line += lines
        self._column = end - last if lines else self._column + end - self._start
        self._start = end

    def _malformed(self, what: str) -> Malformed:
        return Malformed(what, self._line, self._column)


def _step(sign: str) -> int:
    return 1 if sign in "[{" else -1 if sign in "]}" else 0
