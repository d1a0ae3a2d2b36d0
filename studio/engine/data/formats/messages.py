"""messages: conversations as the OpenAI interface writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format
from studio.engine.data.formats.companions import COMPANIONS, Companions
from studio.engine.data.formats.marks import about_weights
from studio.engine.data.formats.turns import turns
from studio.engine.data.formats.values import conversation
from studio.i18n import gettext_noop


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the conversation of a row."""
    return whole_conversation(row, columns, "messages")


def whole_conversation(row: Mapping[str, Any], columns: Columns, field: str) -> Example:
    """Return the conversation in a field, with what stands beside it in other columns."""
    value = row.get(columns[field])
    example = conversation(Companions.of(row, columns).around(turns(value, columns[field])))
    return replace(example, notes=(*example.notes, *about_weights(value)))


FORMAT = Format(
    name="messages",
    title=gettext_noop("Messages"),
    explanation=gettext_noop(
        'Conversations: a list of {"role", "content"}, as OpenAI writes them. Every answer is learnt.'
    ),
    order=10,
    fields=(Field("messages", ("dialogue", "dialog", "chat", "contents"), points=4),),
    companions=COMPANIONS,
    read=read,
    shape="dialogue",
)
