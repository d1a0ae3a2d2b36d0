"""Tokenise one source into a dataset, one chunk of rows at a time, so that memory stays bounded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from studio.config import DataSource
from studio.engine.control import Progress
from studio.engine.data.cache import cached_tables
from studio.engine.data.encoder import DIVIDED, Encoding
from studio.engine.data.examples import OpenSource, open_source
from studio.engine.data.findings.rows import traits
from studio.engine.data.findings.traits import VERSION
from studio.engine.data.formats import FORMATS
from studio.engine.data.formats.base import Example
from studio.engine.data.readers.base import Row
from studio.engine.data.readers.files import fingerprint, printable, size_and_mtime
from studio.engine.data.readers.open import source_path
from studio.engine.data.render import Renderer
from studio.engine.data.report import RowSkipped, Tally
from studio.engine.data.workers import Reporter, encode_in_order, parts, processes_for
from studio.errors import DataError
from studio.i18n import tr

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

# What is encoded in one call of the tokenizer.
_ROWS = 32
_CHARACTERS = 2**18


@dataclass(frozen=True)
class TokenisedSource:
    """The rows of one source.

    Attributes:
        rows: mapped from disk; columns `input_ids`, `supervised` (the loss mask), `length` and `supervised_tokens`
            (their counts), `lost` (tokens that were cut off it), `number` (of the row in the file), `digest` (equal for
            rows with equal tokens and mask) and `traits` (what findings need to know of the row of the file;
            `findings.traits`).
        tally: counts of the rows that were used and skipped.
        fingerprint: SHA-256 of the file.
        files: the Arrow files that `rows` are mapped from.
    """

    rows: pa.Table
    tally: Tally
    fingerprint: str
    files: tuple[Path, ...]

    def dataset(self) -> Dataset:
        """Return the rows as a dataset."""
        from datasets import Dataset, concatenate_datasets

        return concatenate_datasets([Dataset.from_file(str(file)) for file in self.files])


def tokenise(
    source: DataSource, renderer: Renderer, progress: Progress, *, allow_empty: bool = False
) -> TokenisedSource:
    """Return the tokenised rows of a source; from the cache, if they are there. A large file is tokenised on all cores.

    Args:
        allow_empty: return no rows where none can be used, instead of raising an error.

    Raises:
        DataError: the file cannot be read, or none of its rows can be used.
        ModelError: the model's template is not valid.
        Cancelled: the user cancelled.
    """
    path = source_path(source)
    before = size_and_mtime(path)  # before the content is looked at: a file replaced later is then noticed
    digest = fingerprint(path, progress)

    def batches(tally: Tally) -> Iterator[pa.RecordBatch]:
        yield from _batches(source, renderer, tally, progress)
        if size_and_mtime(path) != before:
            raise DataError(tr("{file} changed while it was read; start again.").format(file=printable(path)))

    key = _key(source, digest, renderer, str(_schema()))
    files, tally = cached_tables(key, _schema(), batches, before[0], progress)
    rows = _mapped(files)
    if not len(rows) and not allow_empty:
        raise DataError(tally.why_nothing_is_left(printable(path), renderer.max_length).text())
    return TokenisedSource(rows, tally, digest, files)


def _mapped(files: Iterable[Path]) -> pa.Table:
    """Return the tables of Arrow files as one, mapped from disk."""
    import pyarrow as pa

    return pa.concat_tables([pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in files])


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        {
            "input_ids": pa.list_(pa.int32()),
            "supervised": pa.list_(pa.bool_()),
            "length": pa.int32(),
            "supervised_tokens": pa.int32(),
            "lost": pa.int64(),
            "number": pa.int64(),
            "digest": pa.int64(),
            "traits": pa.binary(),
        }
    )


def chunks(examples: Iterable[tuple[int, Example]]) -> Iterator[list[tuple[int, Example]]]:
    """Yield examples in chunks of at most `_ROWS` rows and about `_CHARACTERS` characters."""
    chunk: list[tuple[int, Example]] = []
    size = 0
    for number, example in examples:
        chunk.append((number, example))
        size += sum(len(piece.text) for piece in example.pieces)
        if len(chunk) >= _ROWS or size >= _CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def encode_chunk(
    chunk: list[tuple[int, Example]], renderer: Renderer, tally: Tally
) -> list[tuple[int, tuple[Encoding, ...]]]:
    """Return the number and the encoded rows of each example that can be used; count the others, and all remarks."""
    outcomes = renderer.encode_all([example for _, example in chunk])
    kept = []
    for (number, _), outcome in zip(chunk, outcomes, strict=True):
        if isinstance(outcome, RowSkipped):
            tally.skip(number, outcome)
        else:
            tally.notes.update({note for row in outcome for note in row.notes})
            kept.append((number, outcome))
    return kept


def _key(source: DataSource, digest: str, renderer: Renderer, columns: str) -> str:
    read = source.model_dump(
        include={"format", "columns", "ignored_columns", "thoughts", "encoding", "bad_rows", "text_unit"}
    )
    made_from = [digest, source_path(source).suffix.lower(), read, renderer.fingerprint, columns, VERSION]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:40]


def _batches(source: DataSource, renderer: Renderer, tally: Tally, progress: Progress) -> Iterator[pa.RecordBatch]:
    """Yield the tokenised rows of a source in tables of a few rows."""
    reporter = Reporter(progress, "tokenising")
    opened = open_source(source, reporter, "tokenising", tally)
    encoder = _RowEncoder(source, opened.format.name, opened.columns, opened.names, renderer)
    processes = processes_for(size_and_mtime(source_path(source))[0])
    encoded = Tally()  # apart from `tally`: the reading is ahead of it by more or less, and the result must not tell
    with closing(encode_in_order(encoder, parts(opened.rows), processes, reporter.again)) as results:
        for batch, counted in results:
            encoded.add(counted)
            yield batch
    tally.add(encoded)


@dataclass(frozen=True)
class _RowEncoder:
    """Makes tables of tokens of the rows of one source; in this process or, pickled, in others."""

    source: DataSource
    format: str
    columns: dict[str, str]
    names: tuple[str, ...]
    renderer: Renderer

    def encode(self, rows: Sequence[Row]) -> tuple[pa.RecordBatch, Tally]:
        """Return a table with the columns of `TokenisedSource.rows`, and what was counted."""
        tally = Tally()
        opened = OpenSource(self.source, FORMATS.get(self.format), self.columns, self.names, iter(rows), tally)
        table: list[_TableRow] = []
        for chunk in chunks(opened.examples()):
            examples = dict(chunk)
            for number, encodings in encode_chunk(chunk, self.renderer, tally):
                known, digest = traits(number, examples[number], encodings), _digest(encodings)
                for encoding in encodings:
                    if DIVIDED in encoding.notes:  # the rows of a long text may be held out one by one
                        digest = _digest((encoding,))
                    table.append(_TableRow(number, digest, known, encoding))
        return _table(table), tally


class _TableRow(NamedTuple):
    number: int
    digest: int
    traits: bytes
    encoding: Encoding


def _table(rows: Sequence[_TableRow]) -> pa.RecordBatch:
    import pyarrow as pa

    ids = [np.array(row.encoding.input_ids, dtype=np.int32) for row in rows]
    supervised = [np.array(row.encoding.supervised, dtype=np.bool_) for row in rows]
    lengths = np.array([len(row) for row in ids], dtype=np.int32)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    columns = [
        pa.ListArray.from_arrays(offsets, np.concatenate([np.empty(0, np.int32), *ids])),
        pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([np.empty(0, np.bool_), *supervised]))),
        pa.array(lengths),
        pa.array(np.array([row.sum() for row in supervised], dtype=np.int32)),
        pa.array([row.encoding.lost for row in rows], pa.int64()),
        pa.array([row.number for row in rows], pa.int64()),
        pa.array([row.digest for row in rows], pa.int64()),
        pa.array([row.traits for row in rows], pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_schema())


def _digest(rows: tuple[Encoding, ...]) -> int:
    """Return one number for all rows of an example; equal examples have equal numbers."""
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update(np.array(row.input_ids, dtype=np.int32).tobytes())
        digest.update(np.array(row.supervised, dtype=np.bool_).tobytes())
    return int.from_bytes(digest.digest(), "little", signed=True)
