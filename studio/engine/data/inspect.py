"""Inspect a dataset before training: its columns, its problems, and its first rows as the model will see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

from studio.config import DataSource
from studio.config.data import MAX_LENGTH, SYSTEM_TURNS, TRAIN_ON, VALIDATION_FRACTION, SystemTurns, TrainOn
from studio.engine.control import Progress, no_progress
from studio.engine.data.encoder import NO_ROOM, Encoding
from studio.engine.data.examples import MOST_COLUMNS, OpenSource, flat, open_source, unfolded
from studio.engine.data.findings import Finding, Survey, find
from studio.engine.data.findings.rows import TraitList, traits
from studio.engine.data.formats import FORMATS
from studio.engine.data.formats.base import Example
from studio.engine.data.formats.marks import is_filled
from studio.engine.data.hub import local_sources
from studio.engine.data.readers.base import Row
from studio.engine.data.readers.files import printable, size_and_mtime
from studio.engine.data.readers.open import read_rows, source_path
from studio.engine.data.render import Renderer
from studio.engine.data.report import Remark, Tally
from studio.engine.data.split import held_out
from studio.engine.data.tokenise import chunks, encode_chunk
from studio.engine.data.workers import Reporter, encode_in_order, parts, processes_for

if TYPE_CHECKING:
    import pyarrow as pa
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
    system_turns: SystemTurns = SYSTEM_TURNS,
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
    settings = train_on, max_length, prompt_template, system_turns
    renderer = Renderer(tokenizer, kind, *settings) if tokenizer is not None else None
    tally, look = Tally(), _Look(renderer, rows)
    first: OpenSource | None = None
    for file in local_sources(source, progress):
        reporter = Reporter(progress, "reading_data")
        opened = open_source(file, reporter, tally=tally)
        first = first or opened
        opened.rows = look.columns.counted(opened.rows)
        look.at_first_rows(opened)
        look.at_other_rows(opened, reporter)
    assert first is not None
    survey = Survey(look.traits.rows(), tally.examples, tally.skipped, tally.needed, max_length if renderer else 0)
    if source.role == "domain":
        held = held_out(survey.traits["content"], validation_fraction, seed)
        survey = replace(survey, trained=~held, held_out=held)
    findings = find(survey, progress)
    return _inspection(source, first, look, findings, max_length)


def peek_columns(source: DataSource, progress: Progress = no_progress) -> tuple[ColumnInfo, ...]:
    """Return the columns of the first rows of a source, those inside objects too, whether or not they fit a format.

    Raises:
        DataError: the file cannot be read, or has no rows.
        Cancelled: the user cancelled.
    """
    tally, columns = Tally(), _Columns()
    rows = read_rows(local_sources(source, progress)[0], tally, progress, "reading_data")
    for row in unfolded(list(islice(rows, _PEEKED)), tally):
        columns.count(flat(row))
    return columns.infos({})


class _Look:
    """What was seen of the rows so far.

    Args:
        renderer: renders and encodes the first rows; None to show them as plain text.
        shown: rows to show.
    """

    def __init__(self, renderer: Renderer | None, shown: int) -> None:
        self._renderer = renderer
        self._shown = shown
        self.columns, self.traits, self.encoded = _Columns(), TraitList(), _Encoded()
        self.rendered: list[RenderedRow] = []

    def at_first_rows(self, opened: OpenSource) -> None:
        """Look at the rows that are encoded, or shown."""
        some = chunks(opened.examples())
        while opened.tally.rows < ENCODED or len(self.rendered) < self._shown:
            chunk = next(some, None)
            if chunk is None:
                return
            kept: list[tuple[int, tuple[Encoding, ...]]] = [(number, ()) for number, _ in chunk]
            if self._renderer is None:
                self.rendered += [_as_text(*row) for row in chunk[: self._shown - len(self.rendered)]]
            else:
                kept = encode_chunk(chunk, self._renderer, opened.tally)
                self.encoded.count(kept)
                self.rendered += [_as_encoded(*row) for row in kept[: self._shown - len(self.rendered)]]
            examples = dict(chunk)
            for number, encodings in kept:
                self.traits.add(traits(number, examples[number], encodings))

    def at_other_rows(self, opened: OpenSource, reporter: Reporter) -> None:
        """Look at the rest; of a large file on all cores."""
        reader = _RowReader(opened.source, opened.format.name, opened.columns, opened.names)
        processes = processes_for(size_and_mtime(source_path(opened.source))[0])
        jobs = ((not self.traits.is_full, some) for some in parts(opened.rows))
        read = Tally()  # apart from the other: the reading is ahead of it by more or less, and the result must not tell
        with closing(encode_in_order(reader, jobs, processes, reporter.again)) as results:
            for batch, counted in results:
                read.add(counted)
                for row in batch.column("traits"):
                    self.traits.add(row.as_py())
        opened.tally.add(read)


@dataclass(frozen=True)
class _RowReader:
    """Reads examples and makes their traits, in this process or, pickled, in others."""

    source: DataSource
    format: str
    columns: dict[str, str]
    names: tuple[str, ...]

    def encode(self, job: tuple[bool, Sequence[Row]]) -> tuple[pa.RecordBatch, Tally]:
        """Return a table with the column `traits`, and what was counted. A job is whether to make them, and rows."""
        import pyarrow as pa

        compared, rows = job
        tally = Tally()
        opened = OpenSource(self.source, FORMATS.get(self.format), self.columns, self.names, iter(rows), tally)
        known = [traits(number, example) if compared else b"" for number, example in opened.examples()]
        return pa.record_batch({"traits": pa.array([one for one in known if one], pa.binary())}), tally


@dataclass
class _Columns:
    rows: int = 0
    filled: Counter[str] = field(default_factory=Counter)
    values: dict[str, str] = field(default_factory=dict)

    def counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Count rows while they are read."""
        for row in rows:
            self.count(row)
            yield row

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


def _as_encoded(number: int, encodings: Sequence[Encoding]) -> RenderedRow:
    first = encodings[0]
    learnt = sum(first.supervised)
    return RenderedRow(number=number, segments=first.segments, tokens=len(first.input_ids), supervised_tokens=learnt)


def _inspection(
    source: DataSource, opened: OpenSource, look: _Look, findings: tuple[Finding, ...], max_length: int
) -> DataInspection:
    tally, encoded, file = opened.tally, look.encoded, printable(source_path(source))
    problems = tally.problems(file)
    if tally.skipped.total() == tally.rows:
        why = tally.why_nothing_is_left(file, max_length)
        told = dict(why.values).get("reason", NO_ROOM.code)
        others = [one for one in problems if one.code != "rows_skipped" or dict(one.values)["reason"] != told]
        problems = [why, *others]
    usable = tally.rows - tally.skipped.total()
    field_of = {column: name for name, column in opened.columns.items()}
    return DataInspection(
        format=opened.format.name,
        rows=tally.rows,
        skipped=tally.skipped.total(),
        reasons=dict(tally.skipped),
        problems=tuple(problems),
        columns=look.columns.infos(field_of),
        unused_columns=tuple(tally.unused),
        rendered=tuple(look.rendered),
        findings=findings,
        trainable=encoded.of_all(encoded.trainable, usable),
        tokens=encoded.of_all(encoded.tokens, usable) if encoded.rows else 0,
    )
