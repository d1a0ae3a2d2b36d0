"""Read the examples of a source: its rows, its format, and counts of the rows that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from studio.config import DataSource
from studio.engine.control import Progress
from studio.engine.data.formats import Format
from studio.engine.data.formats.base import Example
from studio.engine.data.formats.values import NotText
from studio.engine.data.readers.base import Broken, Row
from studio.engine.data.readers.files import printable
from studio.engine.data.readers.open import read_rows, refuse_or_skip, source_path
from studio.engine.data.recognise import recognise
from studio.engine.data.report import Remark, RowSkipped, Tally
from studio.errors import DataError
from studio.i18n import tr

_SAMPLE = 100
_PLACEHOLDER = re.compile(r"\{\{\s*[A-Za-z_][\w.\- ]*\}\}")
PLACEHOLDERS = Remark("placeholders")


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

    def example(self, row: Row) -> Example | None:
        """Return the example of a row; None when the row cannot be used, which is counted."""
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
            self.tally.notes[PLACEHOLDERS] += 1
        return example

    def examples(self) -> Iterator[tuple[int, Example]]:
        """Yield the number and the example of each row that can be used."""
        for row in self.rows:
            example = self.example(row)
            if example is not None:
                yield row.number, example


def open_source(
    source: DataSource, progress: Progress, stage: str = "reading_data", tally: Tally | None = None
) -> OpenSource:
    """Begin to read a source. Raises `DataError` when it cannot be read, has no rows or no known format.

    Args:
        tally: where its rows are counted; a new one without.
    """
    tally = Tally() if tally is None else tally
    rows = read_rows(source, tally, progress, stage)
    first = list(islice(rows, _SAMPLE))
    if not first:
        raise DataError(tally.why_nothing_is_left(printable(source_path(source)), max_length=0).text())
    names = tuple(dict.fromkeys(name for row in first for name in row.values))
    chosen, columns = recognise(source, names)
    return OpenSource(source, chosen, columns, names, chain(first, rows), tally)
