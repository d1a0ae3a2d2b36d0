"""Parse one JSON value strictly, and keep numbers as text."""

from __future__ import annotations

import json
import re
from typing import Any

from studio.engine.data.report import Remark
from studio.i18n import tr

MAX_DEPTH = 100
REPEATED_KEY = Remark("repeated_key")

_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Number(str):
    """A number, as the text that is in the file."""

    __slots__ = ()


class Malformed(Exception):
    """The text is not a JSON value. `line` and `column` count from 1 within it."""

    def __init__(self, what: str, line: int = 1, column: int = 1) -> None:
        super().__init__(what)
        self.what = what
        self.line = line
        self.column = column


class JsonValues:
    """Parses values, and finds what is legal JSON but harmful.

    Numbers come back as the text that stands in the file, so that nothing is rounded or reformatted; the
    literals NaN and Infinity come back as floats, the only ones there are.
    """

    def __init__(self) -> None:
        self.repeated_key = False
        self._decoder = json.JSONDecoder(parse_int=Number, parse_float=Number, object_pairs_hook=self._object)

    def parse(self, text: str) -> Any:
        """Return the value of `text`; `repeated_key` then says whether a key stood twice. Raises `Malformed`."""
        self.repeated_key = False
        _refuse_deep(text)
        try:
            value = self._decoder.decode(text)
        except json.JSONDecodeError as error:
            what = tr("not valid JSON ({reason})").format(reason=error.msg)
            raise Malformed(what, error.lineno, error.colno) from error
        if escape := _ESCAPED_SURROGATE.search(text):
            # Half a character, such as the escape \ud800 alone, can be neither tokenised nor saved.
            try:
                json.dumps(value, ensure_ascii=False).encode("utf-8")
            except UnicodeEncodeError as error:
                what = tr("half a character (a lone surrogate such as {example})").format(example="\\ud800")
                raise _malformed(what, text, escape.start()) from error
        return value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        self.repeated_key |= len(values) < len(pairs)
        return values


def _refuse_deep(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            raise _malformed(tr("nested more than {limit} levels deep").format(limit=MAX_DEPTH), text, found.start())


def _malformed(what: str, text: str, place: int) -> Malformed:
    return Malformed(what, text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place))
