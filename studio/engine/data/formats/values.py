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

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "chatgpt": "assistant",
}
_TOOL_ROLES = {"tool", "function", "function_call", "tool_call", "tool_response", "observation", "ipython"}


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


def turns(value: Any, field: str) -> tuple[Message, ...]:
    """Return the turns of a conversation, with keys role and content or from and value.

    Raises:
        RowSkipped: it is no list of turns, or a turn lacks its role or content, or uses tools or images.
    """
    if not isinstance(value, list) or not value:
        is_encoded = isinstance(value, str) and value.lstrip().startswith("[")
        raise RowSkipped(Remark.of("list_as_text" if is_encoded else "not_a_list", field=field))
    return tuple(_turn(item) for item in value)


def conversation(messages: Sequence[Message]) -> Example:
    """Return the example of a conversation. Raises `RowSkipped` unless it ends with an answer that has text."""
    if not messages or messages[-1].role != "assistant":
        raise RowSkipped(Remark("last_is_no_answer"))
    for message in messages:
        if not message.content.strip() and message.role == "assistant":
            raise RowSkipped(NO_ANSWER)
        if not message.content.strip() and message.role == "user":
            raise RowSkipped(Remark("empty_question"))
    speakers = [message.role for message in messages if message.role != "system"]
    notes = (Remark("assistant_first"),) if speakers[0] == "assistant" else ()
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
        pieces.append(Piece(message.content, learnt=message.role == "assistant"))
    if ask:
        pieces.append(Piece(_heading("assistant", first=not pieces), learnt=False))
    return tuple(pieces)


def _heading(role: str, first: bool) -> str:
    return ("" if first else "\n\n") + f"### {role.title()}:\n"


def exchange(prompt: str, answer: str, system: str = "") -> tuple[Message, ...]:
    """Return the conversation of one question and one answer."""
    opening = (Message("system", system),) if system.strip() else ()
    return (*opening, Message("user", prompt), Message("assistant", answer))


def _turn(item: Any) -> Message:
    if not isinstance(item, Mapping):
        raise RowSkipped(Remark("message_not_object"))
    name = item.get("role", item.get("from"))
    if not isinstance(name, str) or not name.strip():
        raise RowSkipped(Remark("message_without_role"))
    if name.lower() in _TOOL_ROLES or item.get("tool_calls") or item.get("function_call"):
        raise RowSkipped(Remark("calls_tools"))
    role = _ROLES.get(name.strip().lower())
    if role is None:
        raise RowSkipped(Remark.of("unknown_role", role=ascii(name[:30])))
    content = item.get("content", item.get("value"))
    if content is None:
        raise RowSkipped(Remark("message_without_content"))
    if isinstance(content, list):
        return Message(role, "".join(_part(part) for part in content))
    return Message(role, as_text(content, "content"))


def _part(part: Any) -> str:
    if isinstance(part, Mapping):
        if part.get("type", "text") != "text":
            raise RowSkipped(Remark("holds_media"))
        part = part.get("text")
    return as_text(part, "content")
