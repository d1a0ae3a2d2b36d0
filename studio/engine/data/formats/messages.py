"""messages: conversations as the OpenAI interface writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format, Message
from studio.engine.data.formats.companions import COMPANIONS, Companions
from studio.engine.data.formats.marks import about_weights, is_filled, learns
from studio.engine.data.formats.turns import turns
from studio.engine.data.formats.values import conversation
from studio.engine.data.report import Remark, RowSkipped
from studio.i18n import gettext_noop

MASK = Field("train_mask", ("turn_mask",), required=False)
"""Which turns are to be learnt: a list beside the conversation, with a mark for each turn or for each answer."""


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the conversation of a row."""
    return whole_conversation(row, columns, "messages")


def whole_conversation(row: Mapping[str, Any], columns: Columns, field: str) -> Example:
    """Return the conversation in a field, with what stands beside it in other columns."""
    value = row.get(columns[field])
    spoken = turns(value, columns[field])
    if is_filled(mask := row.get(columns.get(MASK.name, ""))):
        spoken = _masked(spoken, mask)
    example = conversation(Companions.of(row, columns).around(spoken))
    return replace(example, notes=(*example.notes, *about_weights(value)))


def _masked(messages: Sequence[Message], mask: Any) -> tuple[Message, ...]:
    """Return messages of which those answers are not learnt that a mask says so of.

    Raises:
        RowSkipped: a mark is not understood, or there are more or fewer than turns or answers.
    """
    answers = [place for place, message in enumerate(messages) if message.role == "assistant"]
    marks = mask if isinstance(mask, list) else [mask] * len(messages)  # one for the whole row
    places = answers if len(marks) == len(answers) else list(range(len(messages)))
    if len(marks) != len(places):
        raise RowSkipped(Remark.of("mask_of_other_length", field=MASK.name, marks=len(marks), turns=len(messages)))
    marked = dict(zip(places, marks, strict=True))
    masked = list(messages)
    for place in answers:
        masked[place] = replace(masked[place], learnt=masked[place].learnt and learns(MASK.name, marked[place]))
    return tuple(masked)


FORMAT = Format(
    name="messages",
    title=gettext_noop("Messages"),
    explanation=gettext_noop(
        'Conversations: a list of {"role", "content"}, as OpenAI writes them. Every answer is learnt.'
    ),
    order=10,
    fields=(Field("messages", ("dialogue", "dialog", "chat", "contents"), points=4),),
    companions=(*COMPANIONS, MASK),
    read=read,
    shape="dialogue",
)
