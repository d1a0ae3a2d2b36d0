"""Rows from CSV: the delimiter is found from the file, and every cell stays text."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from studio.engine.data.readers.base import MAX_ROW_BYTES, Broken, Row
from studio.engine.data.readers.files import printable
from studio.engine.data.readers.lines import Line, TextFile
from studio.errors import DataError
from studio.i18n import tr

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 200
_SEPARATOR = re.compile(r"\ufeff?sep=(.)\s*", re.IGNORECASE)


def read_csv(file: TextFile) -> Iterator[Row | Broken]:
    """Yield the rows below the header line. Raises `DataError` when there is no header line."""
    lines = file.lines()
    sample = list(islice(lines, _SAMPLE))
    # Excel names the delimiter in a line of its own.
    named = _SEPARATOR.fullmatch(sample[0].text) if sample and isinstance(sample[0], Line) else None
    sample = sample[1:] if named else sample
    records = _Records(chain(sample, lines), named[1] if named else _find_delimiter(sample))
    header: list[str] | None = None
    for record in records:
        if isinstance(record, Broken):
            yield record
        elif header is None:
            header = _header(file, record[1])
        elif len(record[1]) != len(header):
            what = tr("the row has {found} cells and the header has {expected}; is a quote or a delimiter missing?")
            yield Broken(record[0], what.format(found=len(record[1]), expected=len(header)))
        else:
            yield Row(record[0], dict(zip(header, record[1], strict=True)))


class _Records:
    """The records of the lines, as (line it begins in, cells). Empty lines between records are passed over."""

    def __init__(self, lines: Iterable[Line | Broken], delimiter: str) -> None:
        self._lines = lines
        self._broken: list[Broken] = []
        self._number = 0
        self._reader = _reader(self._texts(), delimiter)

    def __iter__(self) -> Iterator[tuple[int, list[str]] | Broken]:
        while True:
            begins = self._number + 1
            try:
                cells = next(self._reader)
            except StopIteration:
                yield from self._broken
                return
            except csv.Error as error:
                # A record of several lines cannot be skipped: where it should have ended is not known.
                several = self._number > begins
                yield Broken(begins, tr("not valid CSV ({reason})").format(reason=error), fatal=several)
                continue
            yield from self._broken
            self._broken.clear()
            if cells:
                yield begins, cells

    def _texts(self) -> Iterator[str]:
        for line in self._lines:
            if isinstance(line, Broken):
                self._number = line.line
                self._broken.append(line)
            else:
                self._number = line.number
                yield line.text


def _reader(texts: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_ROW_BYTES)
    return csv.reader(texts, delimiter=delimiter, strict=True)


def _find_delimiter(sample: list[Line | Broken]) -> str:
    """Return the delimiter with which most records have as many cells as the header, and more than one."""
    texts = [line.text for line in sample if isinstance(line, Line)]
    return max(_DELIMITERS, key=lambda delimiter: _fit(texts, delimiter))


def _fit(texts: list[str], delimiter: str) -> tuple[bool, float, int]:
    widths: list[int] = []
    try:
        widths.extend(len(cells) for cells in _reader(texts, delimiter) if cells)
    except csv.Error:
        widths.append(0)  # such as a quoted cell that the sample cuts in two
    width = widths[0] if widths else 0
    return width > 1, Counter(widths)[width] / max(1, len(widths)), width


def _header(file: TextFile, cells: list[str]) -> list[str]:
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1)]
    sentences = [n for n in names if len(n) > 64 or _is_sentence(n) or "\n" in n]
    if sentences or not any(cell.strip() for cell in cells):
        raise DataError(
            tr(
                "{file}, line 1, does not look like column names ({cells}); "
                "put a line of names first, such as {example}."
            ).format(
                file=printable(file.path), cells=tr(", ").join(n[:30] for n in names[:4]), example="prompt,completion"
            )
        )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            tr("{file}, line 1: two columns are called {name}; give each its own name.").format(
                file=printable(file.path), name=repr(repeated[0])
            )
        )
    return names


def _is_sentence(name: str) -> bool:
    """Return whether a cell of the first line ends like a sentence and is more than one word, unlike "Question?"."""
    bare = name.rstrip(".?!。？！")
    return bare != name and not (bare.isascii() and bare.isidentifier())
