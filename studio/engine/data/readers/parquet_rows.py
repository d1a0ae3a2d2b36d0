"""Rows from Parquet, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from studio.engine.control import Progress
from studio.engine.data.readers.base import Meter, Row
from studio.engine.data.readers.files import PARQUET_MAGIC, open_file, printable
from studio.errors import DataError
from studio.i18n import tr

_BATCH = 64


def read_parquet(path: Path, progress: Progress, stage: str) -> Iterator[Row]:
    """Yield the rows of a Parquet file. Raises `DataError` when it is damaged."""
    import pyarrow as pa
    from pyarrow import parquet

    file, size = open_file(path)
    with file:
        try:
            _refuse_cut(file)
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


def _refuse_cut(file: BinaryIO) -> None:
    """Both ends carry the format's mark; without the end there is no table of contents."""
    head = file.read(4)
    file.seek(-4, os.SEEK_END)
    if head != PARQUET_MAGIC or file.read(4) != PARQUET_MAGIC:
        raise ValueError("no Parquet mark")
