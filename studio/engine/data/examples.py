"""Read the examples of a source: recognise its format, read its rows, and count those that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from studio.config import DataSource
from studio.engine.control import Progress
from studio.engine.data.formats import FORMATS, Format
from studio.engine.data.formats.base import Example
from studio.engine.data.formats.companions import lettered
from studio.engine.data.formats.marks import MARKS, VERDICTS, is_filled, is_partial, says_learn
from studio.engine.data.formats.turns import MEDIA
from studio.engine.data.formats.values import NotText
from studio.engine.data.message_trees import conversations, is_tree
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
_MEDIA_MARKER = re.compile(r"^\s*<image>|<image>\s*$", re.MULTILINE)
_TURNS = ("data", "turns", "utterances")  # too common to tell a format where another one fits
_SPEAKERS = ("role", "from", "speaker")


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
        self._label = self.columns.get("label")  # of rated data; it has a field, and is a mark all the same
        choices = self.format.companions and "choices" not in self.columns
        self._lettered = lettered([n for n in self.names if n not in self._used]) if choices else ()
        self._used |= set(self._lettered)
        self._rates = bool(self.format.companions)  # a label beside plain text is a class, unless it is true or false
        self._unclear: dict[str, Remark] = {}

    def example(self, row: Row) -> Example | None:
        """Return the example of a row; None when the row cannot be used, which is counted."""
        try:
            notes = self._other_columns(row)
            example = _with_thoughts(self.format.read(*self._with_choices(row)), self.source.thoughts)
            _refuse_media_markers(example)
        except RowSkipped as reason:
            self.tally.skip(row.number, reason)
            return None
        except NotText as error:
            what = tr('"{field}" holds {value}, which is not text').format(field=error.field, value=error.value)
            refuse_or_skip(self.source, Broken(row.number, what), self.tally)
            return None
        self.tally.notes.update((*example.notes, *notes))
        return example

    def _with_choices(self, row: Row) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the values of a row and the column of each field; choices in columns A, B, … become one."""
        if not self._lettered:
            return row.values, self.columns
        choices = {name: row.values[name] for name in self._lettered if is_filled(row.values.get(name))}
        return {**row.values, "choices": choices}, {**self.columns, "choices": "choices"}

    def _other_columns(self, row: Row) -> list[Remark]:
        """Obey the marks of a row, and count its columns that are not used. Raises `RowSkipped`."""
        refused, notes = None, []
        for name, value in row.values.items():
            if (name in self._used and name != self._label) or not is_filled(value):
                continue
            mark = name.lower()
            if mark in MEDIA:
                refused = Remark.of("needs_media", field=name)
                continue
            is_mark = mark in MARKS and (self._rates or mark not in VERDICTS or mark == "kto_tag" or _is_truth(value))
            says = says_learn(mark, value) if is_mark else None
            if says is False:
                verdict = Remark("bad_answer")
                refused = refused or (verdict if mark in VERDICTS else Remark.of("not_to_learn", field=name))
            elif says is None:
                if is_mark:
                    unclear = Remark.of("mark_not_understood", field=name, value=str(value)[:20])
                    notes.append(self._unclear.setdefault(name, unclear))
                self._count_unused(name)
            elif is_partial(mark, value):
                notes.append(Remark("weights_count_as_one"))
        if refused:
            raise RowSkipped(refused)
        return notes

    def _count_unused(self, name: str) -> None:
        if name in self.tally.unused or len(self.tally.unused) < MOST_COLUMNS:
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

    Where no format fits, or a mapped column is missing, the values inside objects are columns too, such as `qa.answer`.

    Raises:
        DataError: it cannot be read, or has no rows or no known format.
    """
    tally = Tally() if tally is None else tally
    rows = read_rows(source, tally, progress, stage)
    first = unfolded(list(islice(rows, _SAMPLE)), tally)
    if not first:
        raise DataError(tally.why_nothing_is_left(printable(source_path(source)), max_length=0).text())
    names = _names(first)
    if source.format == "auto" and not source.columns and is_tree(names):
        rows = conversations(chain(first, rows), tally)
        first = list(islice(rows, _SAMPLE))
        names = _names(first)
    try:
        chosen, columns = recognise(source, names, _lists(first))
    except DataError:
        first, rows = [flat(row) for row in first], map(flat, rows)
        names = _names(first)
        chosen, columns = recognise(source, names, _lists(first))
    return OpenSource(source, chosen, columns, names, chain(first, rows), tally)


def _names(rows: list[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows for name in row.values))


def _lists(rows: list[Row]) -> set[str]:
    return {name for row in rows for name, value in row.values.items() if isinstance(value, list)}


def flat(row: Row) -> Row:
    """Return a row with a column for each value inside its objects, whose name is the way to it, with dots."""
    return replace(row, values=_flat_values(row.values))


def _flat_values(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= {f"{name}.{inner}": cell for inner, cell in _flat_values(value).items()}
        else:
            flat[name] = value
    return flat


def unfolded(first: list[Row], tally: Tally) -> list[Row]:
    """Return the rows of a table that is stored by columns, as pandas writes JSON; other rows as they are.

    Args:
        first: the first rows of a file. Only a single one can be a table.
    """
    if len(first) != 1 or not first[0].values:
        return first
    cells = list(first[0].values.values())
    if all(isinstance(cell, dict) and cell for cell in cells):
        keys = list(cells[0])
        if not all(key.isdecimal() and list(cell) == keys for cell in cells for key in cell):
            return first
        columns = [[cell[key] for key in keys] for cell in cells]
    elif len(cells) > 1 and all(isinstance(cell, list) and cell for cell in cells):
        columns = cells
        if any(len(cell) != len(cells[0]) or not all(isinstance(v, str) for v in cell) for cell in cells):
            return first
    else:
        return first
    rows = [dict(zip(first[0].values, values, strict=True)) for values in zip(*columns, strict=True)]
    tally.rows += len(rows) - 1
    tally.notes[Remark("stored_by_columns")] += len(rows)
    return [Row(number, values) for number, values in enumerate(rows, start=1)]


def _is_truth(value: object) -> bool:
    return str(value).lower() in ("true", "false")


def _with_thoughts(example: Example, choice: str) -> Example:
    """Return an example with its thoughts in its answers or without them, as the source has chosen."""
    if choice == "auto" or not any(message.thought for message in example.messages):
        return example
    write = "<think>\n{}\n</think>\n\n".format if choice == "answer" else "".format
    thoughts = [write(m.thought) if m.thought else "" for m in example.messages if m.role == "assistant"]
    rest = iter(thoughts)
    pieces = [replace(p, text=next(rest) + p.text) if p.learnt or p.ended else p for p in example.pieces]
    rest = iter(thoughts)
    messages = [
        replace(m, content=next(rest) + m.content, thought="") if m.role == "assistant" else m for m in example.messages
    ]
    return replace(example, pieces=tuple(pieces), messages=tuple(messages))


def _refuse_media_markers(example: Example) -> None:
    """Raise `RowSkipped` where a question stands for an image with the marker of one."""
    if any(m.role == "user" and "<image>" in m.content and _MEDIA_MARKER.search(m.content) for m in example.messages):
        raise RowSkipped(Remark("holds_media"))


def recognise(source: DataSource, names: Collection[str], lists: Collection[str] = ()) -> tuple[Format, dict[str, str]]:
    """Return the format of a source and the column of each of its fields.

    Args:
        names: the columns of the table.
        lists: those that hold lists.

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
    mapped = source.columns.values()
    names = [name for name in names if name in mapped or name not in source.ignored_columns]
    if source.format == "auto":
        chosen = max(FORMATS, key=lambda candidate: candidate.score(names, source.columns))
        _refuse_single_messages(source, chosen, names)
        if not chosen.score(names, source.columns):
            turns = next((name for name in names if name in lists and name.lower() in _TURNS), None)
            if turns and not source.columns:
                messages = FORMATS.get("messages")
                return messages, messages.columns(names, {"messages": turns})
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


def _refuse_single_messages(source: DataSource, chosen: Format, names: Collection[str]) -> None:
    """Raise `DataError` where each row is one message of a conversation: alone, it teaches something else."""
    speaker = next((name for name in names if name.lower() in _SPEAKERS), None)
    if speaker and chosen.name == "text" and not source.columns:
        raise DataError(
            tr(
                "Each row of {file} is one message of a conversation ({columns}); put the messages of a conversation "
                "into one row, as a list under messages. To learn each message as plain text, choose that format."
            ).format(file=printable(source_path(source)), columns=listed(names))
        )


def _refuse_absent_fields(source: DataSource, chosen: Format, names: Collection[str]) -> None:
    fields = [field.name for field in (*chosen.fields, *chosen.companions)]
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
