"""Inspect a dataset before training: its columns, its problems, and its first rows as the model will see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

from studio.config import DataSource
from studio.config.data import MAX_LENGTH, TRAIN_ON, VALIDATION_FRACTION, TrainOn
from studio.engine.control import Progress, no_progress
from studio.engine.data.encoder import Encoding
from studio.engine.data.examples import MOST_COLUMNS, OpenSource, open_source, unfolded
from studio.engine.data.findings import Finding, Survey, find
from studio.engine.data.findings.rows import TraitList
from studio.engine.data.formats.base import Example
from studio.engine.data.formats.marks import is_filled
from studio.engine.data.hub import local_sources
from studio.engine.data.readers.base import Row
from studio.engine.data.readers.files import printable
from studio.engine.data.readers.open import read_rows, source_path
from studio.engine.data.render import Renderer
from studio.engine.data.report import Remark, Tally
from studio.engine.data.split import held_out
from studio.engine.data.tokenise import chunks, encode_chunk

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENCODED = 5000
"""Rows that are encoded; in a longer file the rest is read and checked, but not encoded."""

_PEEKED = 100  # rows of a file of which only the columns are wanted


@dataclass(frozen=True, kw_only=True)
class ColumnInfo:
    """One column.

    Attributes:
        coverage: share of rows (0 to 1) with a value in it.
        field: the field of the format that it is used for; None when it is not used.
        example: the first value, as text.
    """

    name: str
    coverage: float
    field: str | None
    example: str


@dataclass(frozen=True, kw_only=True)
class RenderedRow:
    """One row as the model will see it.

    Attributes:
        number: its line or position in the file, from 1.
        segments: its text in order, in pieces; each with whether it is learnt (supervised).
        tokens, supervised_tokens: how many there are; 0 when no model was chosen.
    """

    number: int
    segments: tuple[tuple[str, bool], ...]
    tokens: int
    supervised_tokens: int


@dataclass(frozen=True, kw_only=True)
class DataInspection:
    """What was found in a file.

    Attributes:
        format: the name of its format.
        rows: all rows, including the skipped ones.
        skipped: rows that cannot be used; `reasons` counts them by reason.
        problems: what the user should know, the worst first.
        columns: its columns, in the order of the file.
        unused_columns: columns that hold something and are not used, except those that the user ignores.
        rendered: the first rows that can be used.
        findings: what is wrong with some of its rows.
        trainable: rows that training will have of them, and `tokens`, 0 without a tokenizer, those of all of these. In
            a file of more rows than are encoded, both are taken to go on as they began.
    """

    format: str
    rows: int
    skipped: int
    reasons: dict[Remark, int]
    problems: tuple[Remark, ...]
    columns: tuple[ColumnInfo, ...]
    unused_columns: tuple[str, ...]
    rendered: tuple[RenderedRow, ...]
    findings: tuple[Finding, ...] = ()
    trainable: int = 0
    tokens: int = 0


def inspect_data(
    source: DataSource,
    tokenizer: PreTrainedTokenizerBase | None = None,
    kind: Literal["base", "chat"] = "base",
    train_on: TrainOn = TRAIN_ON,
    max_length: int = MAX_LENGTH,
    prompt_template: str = "",
    rows: int = 5,
    progress: Progress = no_progress,
    validation_fraction: float = VALIDATION_FRACTION,
    seed: int = 0,
) -> DataInspection:
    """Read a whole source, count what it holds, and render its first rows.

    Without a tokenizer, rows are shown as plain text, and their lengths are not checked. A run with the same share to
    validate with and the same seed holds the same rows out, where this is its only domain source.

    Raises:
        DataError: the file cannot be read, has no rows, or no known format.
        ModelError: the tokenizer or its template cannot be used.
        Cancelled: the user cancelled.
    """
    renderer = Renderer(tokenizer, kind, train_on, max_length, prompt_template) if tokenizer is not None else None
    tally = Tally()
    opened = (open_source(file, progress, tally=tally) for file in local_sources(source, progress))
    first = next(opened)
    columns, traits = _Columns(), TraitList()
    rendered: list[RenderedRow] = []
    encoded = _Encoded()
    for chunk in chunks(_counted(chain([first], opened), columns)):
        kept: list[tuple[int, tuple[Encoding, ...]]] = [(number, ()) for number, _ in chunk]
        if renderer is None:
            rendered += [_as_text(number, example) for number, example in chunk[: rows - len(rendered)]]
        elif tally.rows <= ENCODED or len(rendered) < rows:
            kept = encode_chunk(chunk, renderer, tally)
            encoded.count(kept)
            for number, (encoding, *_) in kept[: rows - len(rendered)]:
                tokens, learnt = len(encoding.input_ids), sum(encoding.supervised)
                rendered.append(
                    RenderedRow(number=number, segments=encoding.segments, tokens=tokens, supervised_tokens=learnt)
                )
        examples = dict(chunk)
        for number, encodings in kept:
            traits.add(number, examples[number], encodings)
    survey = Survey(traits.rows(), tally.examples, tally.skipped, tally.needed, max_length if renderer else 0)
    if source.role == "domain":
        held = held_out(survey.traits["content"], validation_fraction, seed)
        survey = replace(survey, trained=~held, held_out=held)
    findings = find(survey, progress)
    return _inspection(source, first, columns, rendered, findings, max_length, encoded)


def peek_columns(source: DataSource, progress: Progress = no_progress) -> tuple[ColumnInfo, ...]:
    """Return the columns of the first rows of a source, whether or not they fit a format.

    Raises:
        DataError: the file cannot be read, or has no rows.
        Cancelled: the user cancelled.
    """
    tally, columns = Tally(), _Columns()
    rows = read_rows(local_sources(source, progress)[0], tally, progress, "reading_data")
    for row in unfolded(list(islice(rows, _PEEKED)), tally):
        columns.count(row)
    return columns.infos({})


def _counted(files: Iterable[OpenSource], columns: _Columns) -> Iterator[tuple[int, Example]]:
    """Yield the examples of all files while counting columns."""
    for file, row in ((opened, row) for opened in files for row in opened.rows):
        columns.count(row)
        example = file.example(row)
        if example is not None:
            yield row.number, example


@dataclass
class _Columns:
    rows: int = 0
    filled: Counter[str] = field(default_factory=Counter)
    values: dict[str, str] = field(default_factory=dict)

    def count(self, row: Row) -> None:
        self.rows += 1
        for name, value in row.values.items():
            if name not in self.values and len(self.values) >= MOST_COLUMNS:
                continue
            self.values.setdefault(name, "")
            if is_filled(value):
                self.filled[name] += 1
                self.values[name] = self.values[name] or str(value)[:200]

    def infos(self, field_of: Mapping[str, str]) -> tuple[ColumnInfo, ...]:
        """Return what was counted, with the field of each column that is used."""
        rows = max(1, self.rows)
        return tuple(
            ColumnInfo(name=name, coverage=self.filled[name] / rows, field=field_of.get(name), example=value)
            for name, value in self.values.items()
        )


@dataclass
class _Encoded:
    """Of the rows that were encoded: how many there are, and what they become in training."""

    rows: int = 0
    trainable: int = 0
    tokens: int = 0

    def count(self, kept: Iterable[tuple[int, Sequence[Encoding]]]) -> None:
        for _, encodings in kept:
            self.rows += 1
            self.trainable += len(encodings)
            self.tokens += sum(len(encoding.input_ids) for encoding in encodings)

    def of_all(self, count: int, usable: int) -> int:
        """Return what `count` of the encoded rows is of all usable ones; these themselves where none was encoded."""
        return round(count * usable / self.rows) if self.rows else usable


def _as_text(number: int, example: Example) -> RenderedRow:
    segments = tuple((piece.text, piece.learnt) for piece in example.pieces)
    return RenderedRow(number=number, segments=segments, tokens=0, supervised_tokens=0)


def _inspection(
    source: DataSource,
    opened: OpenSource,
    columns: _Columns,
    rendered: list[RenderedRow],
    findings: tuple[Finding, ...],
    max_length: int,
    encoded: _Encoded,
) -> DataInspection:
    tally, file = opened.tally, printable(source_path(source))
    problems = tally.problems(file)
    if tally.skipped.total() == tally.rows:
        told_by_it = {"rows_skipped"} if len(tally.skipped) == 1 else ()
        others = [problem for problem in problems if problem.code not in told_by_it]
        problems = [tally.why_nothing_is_left(file, max_length), *others]
    usable = tally.rows - tally.skipped.total()
    field_of = {column: name for name, column in opened.columns.items()}
    return DataInspection(
        format=opened.format.name,
        rows=tally.rows,
        skipped=tally.skipped.total(),
        reasons=dict(tally.skipped),
        problems=tuple(problems),
        columns=columns.infos(field_of),
        unused_columns=tuple(tally.unused),
        rendered=tuple(rendered),
        findings=findings,
        trainable=encoded.of_all(encoded.trainable, usable),
        tokens=encoded.of_all(encoded.tokens, usable) if encoded.rows else 0,
    )
