"""Reading text and turns out of the values of a row, with a reason for each that cannot be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Message, Piece
from studio.engine.data.report import Remark, RowSkipped

NO_ANSWER = Remark("empty_answer")


class NotText(Exception):
    """A field that must hold text holds NaN or Infinity, which no file should."""

    def __init__(self, field: str, value: float) -> None:
        super().__init__(field)
        self.field = field
        self.value = value


def text(row: Mapping[str, Any], columns: Columns, field: str) -> str:
    """Return a field as text, "" when the row does not have it."""
    column = columns.get(field, field)
    return as_text(row.get(column), column)


def required_text(row: Mapping[str, Any], columns: Columns, field: str) -> str:
    """Return a field as text. Raises `RowSkipped` when there is none."""
    value = text(row, columns, field)
    if not value.strip():
        raise RowSkipped(Remark.of("empty_field", field=columns.get(field, field)))
    return value


def as_text(value: Any, field: str) -> str:
    """Return a scalar as the text it stands for, "" for None."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        raise NotText(field, value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal | datetime | date | time):
        return str(value)
    raise RowSkipped(Remark.of("not_text", field=field))


def conversation(messages: Sequence[Message]) -> Example:
    """Return the example of a conversation up to its last answer. Raises `RowSkipped` where it has none with text."""
    end = max((place for place, message in enumerate(messages, start=1) if message.role == "assistant"), default=0)
    if not end:
        raise RowSkipped(Remark("no_answer"))
    unanswered = (Remark("unanswered_turn"),) if end < len(messages) else ()
    messages = messages[:end]
    for message in messages:
        if not message.content.strip() and message.role == "assistant":
            raise RowSkipped(NO_ANSWER)
        if not message.content.strip() and message.role == "user":
            raise RowSkipped(Remark("empty_question"))
    answers = [message for message in messages if message.role == "assistant"]
    if not any(message.learnt for message in answers):
        raise RowSkipped(Remark("no_learnt_answer"))
    speakers = [message.role for message in messages if message.role != "system"]
    notes = (*unanswered, Remark("assistant_first")) if speakers[0] == "assistant" else unanswered
    if not all(message.learnt for message in answers):
        notes = (*notes, Remark("answers_only_read"))
    return Example(layout(messages), tuple(messages), notes)


def layout(messages: Sequence[Message], ask: bool = False) -> tuple[Piece, ...]:
    r"""Return a conversation as plain text for Base models: headings and text, as instruction data customarily has it.

        ### System:\n…\n\n### User:\n…\n\n### Assistant:\n…

    Args:
        ask: end with the heading of an answer that is to come.
    """
    pieces: list[Piece] = []
    for message in messages:
        pieces.append(Piece(_heading(message.role, first=not pieces), learnt=False))
        is_answer = message.role == "assistant"
        learnt = is_answer and message.learnt
        pieces.append(Piece(message.content, learnt, ended=is_answer and not learnt))
    if ask:
        pieces.append(Piece(_heading("assistant", first=not pieces), learnt=False))
    return tuple(pieces)


def _heading(role: str, first: bool) -> str:
    return ("" if first else "\n\n") + f"### {role.title()}:\n"


def exchange(prompt: str, answer: str, system: str = "") -> tuple[Message, ...]:
    """Return the conversation of one question and one answer."""
    opening = (Message("system", system),) if system.strip() else ()
    return (*opening, Message("user", prompt), Message("assistant", answer))
