"""A data format: the fields it reads, how it is recognised, and how it makes an example of a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from studio.engine.data.report import Remark
from studio.registry import Spec


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: system, user or assistant.
        learnt: False for an answer that is read and not learnt. It means nothing for the other roles.
        thought: what the assistant thought before it answered; "" for none.
    """

    role: str
    content: str
    learnt: bool = True
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of plain text.

    A `learnt` part is supervised. The end token follows it, and also a part that is `ended`: an answer that is read
    and not learnt.
    """

    text: str
    learnt: bool
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """What is to be learnt from one row, in two forms.

    Attributes:
        pieces: plain text, for Base models.
        messages: a conversation, for Chat models, which render it with their template. Empty where the row is no
            conversation; then Chat models see the plain text too.
        notes: remarks on the row.
    """

    pieces: tuple[Piece, ...]
    messages: tuple[Message, ...] = ()
    notes: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Field:
    """A field of a format.

    Attributes:
        aliases: other names for it that datasets use, in small letters.
        points: how strongly it speaks for the format.
    """

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = True
    points: int = 1

    def find(self, columns: Collection[str]) -> str | None:
        """Return the column of this field, or None.

        Exact names come first, then names that differ only in case, spaces and marks, such as "System prompt:".
        """
        names = (self.name, *self.aliases)
        lowered = {column.strip(" ?!.:：？").lower().replace(" ", "_"): column for column in columns}
        return next((name for name in names if name in columns), None) or next(
            (lowered[name] for name in names if name in lowered), None
        )


Columns: TypeAlias = Mapping[str, str]
"""Field name to the column that holds it; fields that no column holds are absent."""


@dataclass(frozen=True, kw_only=True)
class Format(Spec):
    """One layout of rows.

    Attributes:
        fields: what it reads and is recognised by; `DataSource.columns` maps them by name.
        companions: what it reads beside them, where a row has it.
        read: `(row, columns)` returns the row's example. Raises `RowSkipped` for a row that cannot be used and
            `NotText` where text should stand and something else does.
        shape: what a row is: a conversation, one question and its answer, or text without either.
    """

    fields: tuple[Field, ...]
    read: Callable[[Mapping[str, Any], Columns], Example]
    companions: tuple[Field, ...] = ()
    shape: Literal["dialogue", "exchange", "text"] = "exchange"

    def columns(self, names: Collection[str], mapping: Columns) -> dict[str, str]:
        """Return the column of each field: the mapped one, otherwise the one that is called like it.

        A column has one field at most: the first that it is called like.
        """
        free = [name for name in names if name not in mapping.values()]
        found = {}
        for field in (*self.fields, *self.companions):
            column = mapping.get(field.name) or field.find(free)
            if column:
                found[field.name] = column
                free = [name for name in free if name != column]
        return found

    def score(self, names: Collection[str], mapping: Columns) -> int:
        """Return the points of its fields that a table has: 0 unless all that are required and all that are mapped."""
        found = self.columns(names, mapping)
        known = {field.name for field in (*self.fields, *self.companions)}
        complete = all(field.name in found for field in self.fields if field.required)
        points = sum(field.points for field in self.fields if field.name in found)
        return points if complete and known.issuperset(mapping) else 0
