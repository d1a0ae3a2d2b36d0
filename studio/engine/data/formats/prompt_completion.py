"""prompt-completion: a text and how it goes on, or a question and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format, Piece
from studio.engine.data.formats.values import conversation, exchange, required_text, text, turns
from studio.i18n import gettext_noop


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return prompt and completion. For a Base model one follows the other with nothing between them."""
    return continuation(row, columns, "completion")


def continuation(row: Mapping[str, Any], columns: Columns, answer_field: str) -> Example:
    """Return the example of a prompt and of the answer in another field; either may be a list of messages."""
    prompt_column, answer_column = columns.get("prompt", "prompt"), columns[answer_field]
    answer = row.get(answer_column)
    if isinstance(answer, list):
        prompt = row.get(prompt_column)
        opening = turns(prompt, prompt_column) if isinstance(prompt, list) else ()
        spoken = turns(answer, answer_column)
        # The list may repeat the prompt, as preference data does.
        return conversation(spoken if spoken[: len(opening)] == opening else (*opening, *spoken))
    question = required_text(row, columns, "prompt")
    reply = required_text(row, columns, answer_field)
    return Example(
        pieces=(Piece(question, learnt=False), Piece(reply, learnt=True)),
        messages=exchange(question, reply, text(row, columns, "system")),
    )


FORMAT = Format(
    name="prompt-completion",
    title=gettext_noop("Prompt and completion"),
    explanation=gettext_noop("A prompt and its completion, or a question and its answer. Only the second is learnt."),
    order=40,
    fields=(
        Field("prompt", ("question", "input", "query")),
        Field("completion", ("answer", "output", "response", "target")),
        Field("system", required=False),
    ),
    read=read,
)
