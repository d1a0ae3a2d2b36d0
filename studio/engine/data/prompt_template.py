"""The prompt template of a Base model: one text with places for question and answer, written by the user."""

from __future__ import annotations

from collections.abc import Sequence

from studio.config.data import PLACEHOLDER
from studio.engine.data.formats.base import Message, Piece

_ANSWER = "{answer}"


def fill_template(template: str, messages: Sequence[Message], ask: bool = False) -> tuple[Piece, ...]:
    """Return a conversation as plain text, as a template of `[data]` has it.

    Each answer has the template once, with what was said before it as the question; a longer conversation repeats the
    template, with an empty line between. Instructions (system) stand where the template has a place for them, otherwise
    before the question. Everything else stays as it is, byte for byte.

    Args:
        template: ends with {answer}.
        ask: end where the answer to the last question is to begin.
    """
    pieces: list[Piece] = []
    system: list[str] = []
    question: list[str] = []
    for message in (*messages, *((Message("assistant", ""),) if ask else ())):
        if message.role != "assistant":
            (system if message.role == "system" else question).append(message.content)
            continue
        prompt = _prompt(template, "\n\n".join(system), "\n\n".join(question))
        pieces.append(Piece(("\n\n" if pieces else "") + prompt, learnt=False))
        pieces.append(Piece(message.content, learnt=message.learnt, ended=not message.learnt))
        system, question = [], []
    return tuple(pieces[:-1] if ask else pieces)


def _prompt(template: str, system: str, question: str) -> str:
    """Return what stands before the answer. A row's own text is never searched for placeholders."""
    if "{system}" not in template:
        system, question = "", "\n\n".join(part for part in (system, question) if part)
    values = {"{system}": system, "{question}": question}
    return PLACEHOLDER.sub(lambda found: values[found[0]], template.removesuffix(_ANSWER))
