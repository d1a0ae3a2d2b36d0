"""messages: conversations as the OpenAI interface writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format
from studio.engine.data.formats.values import conversation, turns
from studio.i18n import gettext_noop


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the conversation of a row."""
    column = columns["messages"]
    return conversation(turns(row.get(column), column))


FORMAT = Format(
    name="messages",
    title=gettext_noop("Messages"),
    explanation=gettext_noop(
        'Conversations: a list of {"role", "content"}, as OpenAI writes them. Every answer is learnt.'
    ),
    order=10,
    fields=(Field("messages", ("dialogue", "dialog", "chat")),),
    read=read,
)
