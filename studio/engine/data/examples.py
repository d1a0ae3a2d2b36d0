"""Read the examples of a source: recognise its format, read its rows, and count those that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from studio.config import DataSource
from studio.engine.control import Progress
from studio.engine.data.formats import FORMATS, Format
from studio.engine.data.formats.base import Example
from studio.engine.data.formats.values import NotText
from studio.engine.data.readers.base import Broken, Row
from studio.engine.data.readers.files import printable
from studio.engine.data.readers.open import read_rows, refuse_or_skip, source_path
from studio.engine.data.report import Remark, RowSkipped, Tally
from studio.errors import DataError
from studio.i18n import tr
from studio.text.data import listed

MOST_COLUMNS = 1000
"""Columns that are counted at most: JSON rows may use a new key in every row."""

_SAMPLE = 100
_PLACEHOLDER = re.compile(r"\{\{\s*[A-Za-z_][\w.\- ]*\}\}")


def is_filled(value: object) -> bool:
    """Return whether a cell holds something."""
    return value is not None and value not in ("", [], {}) and not (isinstance(value, str) and value.isspace())


@dataclass
class OpenSource:
    """A source that is being read, once.

    Attributes:
        format: the format of its rows; `columns` names the column of each field.
        names: the columns that its first rows have.
        rows: the rows, unchanged.
        tally: counts of the rows read so far.
    """

    source: DataSource
    format: Format
    columns: dict[str, str]
    names: tuple[str, ...]
    rows: Iterator[Row]
    tally: Tally

    def __post_init__(self) -> None:
        self._used = {*self.columns.values(), *self.source.ignored_columns}

    def example(self, row: Row) -> Example | None:
        """Return the example of a row; None when the row cannot be used, which is counted."""
        self._count_unused(row)
        try:
            example = self.format.read(row.values, self.columns)
        except RowSkipped as reason:
            self.tally.skip(row.number, reason)
            return None
        except NotText as error:
            what = tr('"{field}" holds {value}, which is not text').format(field=error.field, value=error.value)
            refuse_or_skip(self.source, Broken(row.number, what), self.tally)
            return None
        self.tally.notes.update(example.notes)
        if any(_PLACEHOLDER.search(piece.text) for piece in example.pieces):
            self.tally.notes[Remark("placeholders")] += 1
        return example

    def _count_unused(self, row: Row) -> None:
        for name, value in row.values.items():
            counted = name in self.tally.unused or len(self.tally.unused) < MOST_COLUMNS
            if counted and name not in self._used and is_filled(value):
                self.tally.unused[name] += 1

    def examples(self) -> Iterator[tuple[int, Example]]:
        """Yield the number and the example of each row that can be used."""
        for row in self.rows:
            example = self.example(row)
            if example is not None:
                yield row.number, example


def open_source(
    source: DataSource, progress: Progress, stage: str = "reading_data", tally: Tally | None = None
) -> OpenSource:
    """Begin to read a source; its rows are counted in `tally`, or in a new one.

    Raises:
        DataError: it cannot be read, or has no rows or no known format.
    """
    tally = Tally() if tally is None else tally
    rows = read_rows(source, tally, progress, stage)
    first = list(islice(rows, _SAMPLE))
    if not first:
        raise DataError(tally.why_nothing_is_left(printable(source_path(source)), max_length=0).text())
    names = tuple(dict.fromkeys(name for row in first for name in row.values))
    chosen, columns = recognise(source, names)
    return OpenSource(source, chosen, columns, names, chain(first, rows), tally)


def recognise(source: DataSource, names: Collection[str]) -> tuple[Format, dict[str, str]]:
    """Return the format of a source and the column of each of its fields.

    Args:
        names: the columns of the table.

    Raises:
        DataError: no format fits, or a column that the source maps does not exist.
        ConfigError: the source names a format that there is not.
    """
    for field, column in source.columns.items():
        if column not in names:
            raise DataError(
                tr("{file} has no column {column} for {field}; it has {columns}.").format(
                    file=printable(source_path(source)), column=repr(column), field=field, columns=listed(names)
                )
            )
    if source.format == "auto":
        chosen = max(FORMATS, key=lambda candidate: candidate.score(names, source.columns))
        if not chosen.score(names, source.columns):
            raise DataError(
                tr(
                    "The columns of {file} fit no known format ({columns}); rename them, such as to prompt and "
                    "completion, or say which column holds what."
                ).format(file=printable(source_path(source)), columns=listed(names))
            )
    else:
        chosen = FORMATS.get(source.format)
        _refuse_absent_fields(source, chosen, names)
    return chosen, chosen.columns(names, source.columns)


def _refuse_absent_fields(source: DataSource, chosen: Format, names: Collection[str]) -> None:
    fields = [field.name for field in chosen.fields]
    strange = [name for name in source.columns if name not in fields]
    if strange:
        raise DataError(
            tr("The format {format} has no field {field} to map a column of {file} to; it has {fields}.").format(
                format=chosen.name, field=strange[0], file=printable(source_path(source)), fields=listed(fields)
            )
        )
    found = chosen.columns(names, source.columns)
    absent = [field.name for field in chosen.fields if field.required and field.name not in found]
    if absent:
        raise DataError(
            tr(
                "{file} has no column {field}, which the format {format} needs; it has {columns}: "
                "map one of them, or choose another format."
            ).format(file=printable(source_path(source)), field=absent[0], format=chosen.name, columns=listed(names))
        )
