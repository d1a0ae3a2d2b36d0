"""sharegpt: conversations under `conversations`, with `from` and `value`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format, Message
from studio.engine.data.formats.values import conversation, text, turns
from studio.i18n import gettext_noop


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the conversation of a row, opened by its system text where it has one."""
    column = columns["conversations"]
    system = text(row, columns, "system")
    opening = (Message("system", system),) if system.strip() else ()
    return conversation((*opening, *turns(row.get(column), column)))


FORMAT = Format(
    name="sharegpt",
    title=gettext_noop("ShareGPT"),
    explanation=gettext_noop('Conversations: a list of {"from", "value"}, from human and gpt. Every answer is learnt.'),
    order=20,
    fields=(Field("conversations", ("conversation",)), Field("system", required=False)),
    read=read,
)
