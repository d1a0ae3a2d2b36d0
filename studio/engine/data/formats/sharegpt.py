"""sharegpt: conversations under `conversations`, with `from` and `value`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format
from studio.engine.data.formats.companions import COMPANIONS
from studio.engine.data.formats.messages import MASK, whole_conversation
from studio.i18n import gettext_noop


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the conversation of a row."""
    return whole_conversation(row, columns, "conversations")


FORMAT = Format(
    name="sharegpt",
    title=gettext_noop("ShareGPT"),
    explanation=gettext_noop('Conversations: a list of {"from", "value"}, from human and gpt. Every answer is learnt.'),
    order=20,
    fields=(Field("conversations", ("conversation",), points=4),),
    companions=(*COMPANIONS, MASK),
    read=read,
    shape="dialogue",
)
