"""text: plain text, all of it learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format, Piece
from studio.engine.data.formats.values import required_text
from studio.i18n import gettext_noop


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the text of a row."""
    return Example(pieces=(Piece(required_text(row, columns, "text"), learnt=True),))


FORMAT = Format(
    name="text",
    title=gettext_noop("Plain text"),
    explanation=gettext_noop(
        "One text a row, all of it learnt and ended by the end token. In a text file a line, a paragraph or the whole "
        "document is a row. A text that is too long becomes several rows."
    ),
    order=50,
    fields=(Field("text", ("content", "document")),),
    read=read,
    shape="text",
)
