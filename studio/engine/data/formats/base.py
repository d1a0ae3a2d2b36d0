"""What a data format is: the fields it reads, how it is recognised, and how a row becomes an example."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from studio.engine.data.report import Remark
from studio.registry import Spec


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of plain text. `learnt` marks what the model is to say; it ends with the end token."""

    text: str
    learnt: bool


@dataclass(frozen=True, slots=True)
class Example:
    """What one row teaches, in the two forms in which a model can be told.

    Attributes:
        pieces: how a Base model sees it: plain text.
        messages: how a Chat model sees it, through its own template; empty for what is no dialogue, which a
            Chat model then sees as plain text too.
        notes: what is to be said of the row.
    """

    pieces: tuple[Piece, ...]
    messages: tuple[Message, ...] = ()
    notes: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Field:
    """A field of a format, under the names it goes by in the world, the first of them ours."""

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = True

    def find(self, columns: Collection[str]) -> str | None:
        """Return the column that holds this field, if one does; its own name before others, case ignored last."""
        names = (self.name, *self.aliases)
        lowered = {column.lower(): column for column in columns}
        return next((name for name in names if name in columns), None) or next(
            (lowered[name] for name in names if name in lowered), None
        )


Columns: TypeAlias = Mapping[str, str]
"""Field name to the column that holds it; fields that no column holds are absent."""


@dataclass(frozen=True, kw_only=True)
class Format(Spec):
    """One layout of rows.

    Attributes:
        fields: what it reads; `DataSource.columns` maps them by name.
        read: `(row, columns)` returns the row's example. Raises `Unteachable` for a row that cannot teach and
            `NotText` where text should stand and something else does.
    """

    fields: tuple[Field, ...]
    read: Callable[[Mapping[str, Any], Columns], Example]

    def columns(self, names: Collection[str], mapping: Columns) -> dict[str, str]:
        """Return the column of each field: the mapped one, otherwise the one that is called like it."""
        found = {field.name: mapping.get(field.name) or field.find(names) for field in self.fields}
        return {name: column for name, column in found.items() if column}

    def score(self, names: Collection[str], mapping: Columns) -> int:
        """Return how many of its fields a table has: 0 unless all that are required and all that are mapped."""
        found = self.columns(names, mapping)
        known = {field.name for field in self.fields}
        complete = all(field.name in found for field in self.fields if field.required)
        return len(found) if complete and known.issuperset(mapping) else 0
