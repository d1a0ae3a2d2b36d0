"""Rows from JSON: one value a line, one list of rows, or rows that span lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from studio.engine.data.readers.base import Broken, Row
from studio.engine.data.readers.json_elements import ElementScanner
from studio.engine.data.readers.json_values import REPEATED_KEY, JsonValues, Malformed, Number
from studio.engine.data.readers.lines import Line, TextFile
from studio.engine.data.report import Remark
from studio.i18n import gettext_noop, tr

_USUAL_WRAPPERS = ("data", "rows", "train", "items", "examples", "records", "instances")
_LONGEST_BESIDE = 1000
"""Characters of a list or object beside the rows that is kept for each of them."""


def read_json(file: TextFile) -> Iterator[Row | Broken]:
    """Yield the rows of a JSON or JSON Lines file, one that wraps its rows in an object included."""
    listed = file.head.lstrip().startswith("[")
    return unwrapped(_by_element(file, listed=True) if listed else _by_line_or_element(file))


def _by_line_or_element(file: TextFile) -> Iterator[Row | Broken]:
    """A first line that opens more brackets than it closes begins a row that spans lines, unless it stands alone."""
    lines = (line for line in file.lines() if isinstance(line, Broken) or line.text.strip())
    first = list(islice(lines, 2))
    spans_lines = (
        file.path.suffix.lower() not in (".jsonl", ".ndjson")
        and len(first) == 2
        and isinstance(first[0], Line)
        and _opens(first[0].text)
    )
    return _by_element(file, listed=False) if spans_lines else _by_line(chain(first, lines))


def _opens(text: str) -> bool:
    try:
        return not list(ElementScanner([text], listed=False))
    except Malformed:
        return text.lstrip().startswith(("{", "["))


def _by_line(lines: Iterator[Line | Broken]) -> Iterator[Row | Broken]:
    values = JsonValues()
    for line in lines:
        if isinstance(line, Broken):
            yield line
            continue
        try:
            yield _row(values.parse(line.text), line.number, line.number, values.repeated_key)
        except Malformed as error:
            # What is missing at the end of a line is missed behind its line end.
            column = error.column if error.line == 1 else len(line.text.rstrip("\r\n")) + 1
            what = _at(error.what, column)
            if not line.text.endswith(("\n", "\r")):
                what = tr("{what}, and the line has no end: the file may be incomplete").format(what=what)
            yield Broken(line.number, what)


def _by_element(file: TextFile, listed: bool) -> Iterator[Row | Broken]:
    values = JsonValues()
    try:
        for number, element in enumerate(ElementScanner(file.blocks(), listed), start=1):
            try:
                yield _row(values.parse(element.text), number, element.line, values.repeated_key)
            except Malformed as error:
                column = error.column + (element.column - 1 if error.line == 1 else 0)
                yield Broken(element.line + error.line - 1, _at(error.what, column))
    except Malformed as error:
        yield Broken(error.line, _at(error.what, error.column), fatal=True)


def _at(what: str, column: int) -> str:
    return tr("{what} at column {column}").format(what=what, column=column)


def _row(value: Any, number: int, line: int, repeated_key: bool) -> Row | Broken:
    notes = (REPEATED_KEY,) if repeated_key else ()
    if isinstance(value, dict):
        return Row(number, value, notes)
    if isinstance(value, str) and not isinstance(value, Number):
        return Row(number, {"text": value}, (*notes, Remark("bare_strings")))
    kinds = {type(None): gettext_noop("null"), list: gettext_noop("a list"), bool: gettext_noop("true or false")}
    kind = tr(kinds.get(type(value), gettext_noop("a number")))
    return Broken(line, tr("a row must be an object with named fields, and this is {kind}").format(kind=kind))


def unwrapped(rows: Iterator[Row | Broken]) -> Iterator[Row | Broken]:
    """Return the rows of an only row that wraps them, what stands beside their list in each; other rows as they are."""
    first = list(islice(rows, 2))
    only = first[0] if len(first) == 1 else None
    if isinstance(only, Row) and (key := _wrapper_key(only)):
        notes = (*only.notes, Remark.of("unwrapped", key=key))
        beside = {name: _short(value) for name, value in only.values.items() if name != key}
        return (Row(number, beside | item, notes) for number, item in enumerate(only.values[key], start=1))
    if isinstance(only, Row) and (named := _named_rows(only)):
        notes = (*only.notes, Remark("named_rows"))
        return (Row(number, item, notes) for number, item in enumerate(named, start=1))
    return chain(first, rows)


def _named_rows(row: Row) -> list[dict[str, Any]]:
    """Return the rows of an object that has each of them under a name of its own; [] of another one."""
    items = list(row.values.values())
    keys = items[0].keys() if items and isinstance(items[0], dict) else set()
    alike = len(items) > 1 and len(keys) > 1 and all(isinstance(item, dict) and item.keys() == keys for item in items)
    is_by_column = all(key.isdecimal() for key in keys)  # as pandas writes a table
    return items if alike and not is_by_column and not {"role", "from"} & keys else []


def _short(value: Any) -> Any:
    """Return a value that may stand in every row; of a long list or object, how it begins as text."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else ""
    return value if len(text) <= _LONGEST_BESIDE else text[:_LONGEST_BESIDE]


def _wrapper_key(row: Row) -> str | None:
    """Return the field that holds the rows when an only row is really a wrapper round them."""
    names = [
        key
        for key, value in row.values.items()
        # A list of objects that are not the turns of one conversation.
        if isinstance(value, list)
        and value
        and all(isinstance(item, dict) and not {"role", "from"} & item.keys() for item in value)
    ]
    usual = [name for name in names if name.lower() in _USUAL_WRAPPERS or len(row.values) == 1]
    return usual[0] if len(usual) == 1 else None
