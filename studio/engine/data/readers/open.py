"""Read a dataset file of any kind; broken lines stop the reading or are skipped, as the user chose."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.config import DataSource
from studio.engine.control import Progress
from studio.engine.data.readers.base import MAX_ROW_BYTES, Broken, Meter, Row
from studio.engine.data.readers.csv_rows import read_csv
from studio.engine.data.readers.files import PARQUET_MAGIC, open_file, printable, read_head, unreadable
from studio.engine.data.readers.json_rows import read_json
from studio.engine.data.readers.lines import TextFile
from studio.engine.data.readers.text_rows import read_text
from studio.engine.data.readers.yaml_rows import read_yaml
from studio.engine.data.report import Remark, RowSkipped, Tally
from studio.errors import DataError
from studio.files import expand_user
from studio.i18n import tr
from studio.text.numbers import size_text

CSV = (".csv", ".tsv", ".tab")
JSON = (".json", ".jsonl", ".ndjson")
YAML = (".yml", ".yaml")
_JSON_ROWS = re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*"')


def source_path(source: DataSource) -> Path:
    """Return the path of a source, with `~` resolved; space at its ends counts only where a file is called so."""
    path = expand_user(source.path)
    # Path.exists would raise for a name that is too long.
    return path if os.path.exists(path) else expand_user(source.path.strip())  # noqa: PTH110


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
    if suffix in YAML:
        return read_yaml(file)
    if suffix in JSON or _JSON_ROWS.match(head):
        return read_json(file)
    return read_text(file, source.text_unit)


_BATCH = 64
_SWOLLEN = 256 * 2**20  # bytes of a column of one group of rows


def _refuse_swollen(path: Path, metadata: Any) -> None:
    """Refuse a file whose columns unfold to far more than they are: they would be in memory as a whole."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            unfolded, stored = column.total_uncompressed_size, column.total_compressed_size
            if unfolded > _SWOLLEN and unfolded > 100 * stored:
                raise DataError(
                    tr("{file}: the column {column} unfolds from {stored} to {unfolded}; is it a dataset?").format(
                        file=printable(path),
                        column=repr(column.path_in_schema),
                        stored=size_text(stored),
                        unfolded=size_text(unfolded),
                    )
                )


def read_parquet(path: Path, progress: Progress, stage: str) -> Iterator[Row]:
    """Yield the rows of a Parquet file. Raises `DataError` when it is damaged."""
    import pyarrow as pa
    from pyarrow import parquet

    file, size = open_file(path)
    with file:
        try:
            kept = parquet.ParquetFile(file)
            _refuse_swollen(path, kept.metadata)
            # A value that is stored once for many rows stays so in memory, and rows are unfolded one by one.
            leaves = (kept.schema.column(place) for place in range(len(kept.schema)))
            texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
            table = parquet.ParquetFile(file, read_dictionary=texts)
            meter = Meter(progress, stage, size)
            rows = table.metadata.num_rows
            number = 0
            for batch in table.iter_batches(batch_size=_BATCH):
                for place in range(batch.num_rows):
                    (values,) = batch.slice(place, 1).to_pylist()
                    number += 1
                    if any(isinstance(value, str) and len(value) > MAX_ROW_BYTES for value in values.values()):
                        raise DataError(
                            tr("{file}, row {row}, is longer than {limit} MB; is it a dataset?").format(
                                file=printable(path), row=number, limit=MAX_ROW_BYTES // 2**20
                            )
                        )
                    yield Row(number, values)
                meter.at(size * number // max(1, rows))
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise DataError(
                tr("{file} is not a Parquet file, or it is damaged or cut off; fetch or write it again.").format(
                    file=printable(path)
                )
            ) from error
