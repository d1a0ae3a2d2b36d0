"""Read a dataset file of any kind; broken lines stop the reading or are skipped, as the user chose."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from studio.config import DataSource
from studio.engine.control import Progress
from studio.engine.data.readers.base import Broken, Meter, Row
from studio.engine.data.readers.csv_rows import read_csv
from studio.engine.data.readers.files import PARQUET_MAGIC, open_file, printable, read_head, unreadable
from studio.engine.data.readers.json_rows import read_json
from studio.engine.data.readers.lines import TextFile
from studio.engine.data.readers.text_rows import read_text
from studio.engine.data.report import Remark, RowSkipped, Tally
from studio.errors import DataError
from studio.i18n import tr

CSV = (".csv", ".tsv", ".tab")
JSON = (".json", ".jsonl", ".ndjson")
_JSON_ROWS = re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*"')


def source_path(source: DataSource) -> Path:
    """Return the path of a source, with `~` resolved; space at its ends counts only where a file is called so."""
    path = Path(source.path).expanduser()
    # Path.exists would raise for a name that is too long.
    return path if os.path.exists(path) else Path(source.path.strip()).expanduser()  # noqa: PTH110


def read_rows(source: DataSource, tally: Tally, progress: Progress, stage: str = "reading_data") -> Iterator[Row]:
    """Yield the rows of a file and count them.

    Raises:
        DataError: the file cannot be read, or a line cannot and broken lines are not to be skipped.
        Cancelled: the user cancelled.
    """
    try:
        for row in _read(source, progress, stage):
            tally.rows += 1
            if isinstance(row, Broken):
                refuse_or_skip(source, row, tally)
            else:
                tally.notes.update(row.notes)
                yield row
    except OSError as error:  # in the middle of the file, such as when a drive goes away
        raise unreadable(source_path(source), error) from error


def refuse_or_skip(source: DataSource, broken: Broken, tally: Tally) -> None:
    """Count a broken line when the user chose to skip such lines. Raises `DataError` otherwise."""
    if source.bad_rows == "skip" and not broken.fatal:
        tally.skip(broken.line, RowSkipped(Remark("unreadable_line")))
        return
    advice = tr("mend the file") if broken.fatal else tr("mend the line or choose to skip broken lines")
    raise DataError(
        tr("{file}, line {line}: {what}; {advice}.").format(
            file=printable(source_path(source)), line=broken.line, what=broken.what, advice=advice
        )
    )


def _read(source: DataSource, progress: Progress, stage: str) -> Iterator[Row | Broken]:
    path = source_path(source)
    suffix = path.suffix.lower()
    head = read_head(path)
    if head.startswith(PARQUET_MAGIC) or suffix == ".parquet":
        return read_parquet(path, progress, stage)
    file = TextFile(path, source.encoding, progress, stage)
    if suffix in CSV:
        return read_csv(file)
    if suffix in JSON or _JSON_ROWS.match(head):
        return read_json(file)
    return read_text(file, source.text_unit)


_BATCH = 64


def read_parquet(path: Path, progress: Progress, stage: str) -> Iterator[Row]:
    """Yield the rows of a Parquet file. Raises `DataError` when it is damaged."""
    import pyarrow as pa
    from pyarrow import parquet

    file, size = open_file(path)
    with file:
        try:
            table = parquet.ParquetFile(file)
            meter = Meter(progress, stage, size)
            rows = table.metadata.num_rows
            number = 0
            for batch in table.iter_batches(batch_size=_BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
                meter.at(size * number // max(1, rows))
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise DataError(
                tr("{file} is not a Parquet file, or it is damaged or cut off; fetch or write it again.").format(
                    file=printable(path)
                )
            ) from error
