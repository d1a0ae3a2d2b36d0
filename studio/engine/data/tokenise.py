"""Tokenise one source into a dataset, one chunk of rows at a time, so that memory stays bounded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.config import DataSource
from studio.engine.control import Progress
from studio.engine.data.cache import cached_dataset
from studio.engine.data.encoder import DIVIDED, Encoding
from studio.engine.data.examples import open_source
from studio.engine.data.findings.rows import traits
from studio.engine.data.findings.traits import VERSION
from studio.engine.data.formats.base import Example
from studio.engine.data.readers.files import fingerprint, printable, size_and_mtime
from studio.engine.data.readers.open import source_path
from studio.engine.data.render import Renderer
from studio.engine.data.report import RowSkipped, Tally
from studio.errors import DataError
from studio.i18n import tr

if TYPE_CHECKING:
    from datasets import Dataset

# What is encoded in one call of the tokenizer.
_ROWS = 32
_CHARACTERS = 2**18


@dataclass(frozen=True)
class TokenisedSource:
    """The rows of one source.

    Attributes:
        rows: columns `input_ids`, `supervised` (the loss mask), `length` and `supervised_tokens` (their counts), `lost`
            (tokens that were cut off it), `number` (of the row in the file), `digest` (equal for rows with equal tokens
            and mask) and `traits` (what findings need to know of the row of the file; `findings.traits`).
        tally: counts of the rows that were used and skipped.
        fingerprint: SHA-256 of the file.
    """

    rows: Dataset
    tally: Tally
    fingerprint: str


def tokenise(source: DataSource, renderer: Renderer, progress: Progress) -> TokenisedSource:
    """Return the tokenised rows of a source; from the cache, if they are there.

    Raises:
        DataError: the file cannot be read, or none of its rows can be used.
        ModelError: the model's template is not valid.
        Cancelled: the user cancelled.
    """
    from datasets import Features, List, Value

    features = Features(
        input_ids=List(Value("int32")),
        supervised=List(Value("bool")),
        length=Value("int32"),
        supervised_tokens=Value("int32"),
        lost=Value("int64"),
        number=Value("int64"),
        digest=Value("int64"),
        traits=Value("binary"),
    )
    digest = fingerprint(source_path(source), progress)
    key = _key(source, digest, renderer, str(features))
    rows, tally = cached_dataset(key, features, lambda tally: _rows(source, renderer, tally, progress), progress)
    return TokenisedSource(rows, tally, digest)


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
            tally.lost += sum(row.lost for row in outcome)
            kept.append((number, outcome))
    return kept


def _key(source: DataSource, digest: str, renderer: Renderer, columns: str) -> str:
    read = source.model_dump(
        include={"format", "columns", "ignored_columns", "thoughts", "encoding", "bad_rows", "text_unit"}
    )
    made_from = [digest, source_path(source).suffix.lower(), read, renderer.fingerprint, columns, VERSION]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:40]


def _rows(source: DataSource, renderer: Renderer, tally: Tally, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yield the tokenised rows of a source."""
    before = size_and_mtime(source_path(source))
    opened = open_source(source, progress, "tokenising", tally)
    taught = 0
    for chunk in chunks(opened.examples()):
        examples = dict(chunk)
        for number, encodings in encode_chunk(chunk, renderer, tally):
            taught += 1
            known = traits(number, examples[number], encodings)
            digest = _digest(encodings)
            for encoding in encodings:
                if DIVIDED in encoding.notes:  # the rows of a long text may be held out one by one
                    digest = _digest((encoding,))
                yield {
                    "input_ids": encoding.input_ids,
                    "supervised": encoding.supervised,
                    "length": len(encoding.input_ids),
                    "supervised_tokens": sum(encoding.supervised),
                    "lost": encoding.lost,
                    "number": number,
                    "digest": digest,
                    "traits": known,
                }
    if size_and_mtime(source_path(source)) != before:
        raise DataError(
            tr("{file} changed while it was read; start again.").format(file=printable(source_path(source)))
        )
    if not taught:
        raise DataError(tally.why_nothing_is_left(printable(source_path(source)), renderer.max_length).text())


def _digest(rows: tuple[Encoding, ...]) -> int:
    """Return one number for all rows of an example; equal examples have equal numbers."""
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update(np.array(row.input_ids, dtype=np.int32).tobytes())
        digest.update(np.array(row.supervised, dtype=np.bool_).tobytes())
    return int.from_bytes(digest.digest(), "little", signed=True)
