"""prompt-completion: a text and how it goes on, or a question and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format, Message, Piece
from studio.engine.data.formats.companions import COMPANIONS, Companions, joined
from studio.engine.data.formats.marks import is_filled
from studio.engine.data.formats.turns import transcript, turns
from studio.engine.data.formats.values import NO_ANSWER, as_text, conversation, text
from studio.engine.data.report import Remark, RowSkipped
from studio.i18n import gettext_noop

QUESTIONS = ("prompt", "instruction", "input", "question")
"""The fields of a question, in the order in which a model reads them."""

_RANKS = ("rank", "ranking")
_SCORES = ("score", "overall_score", "rating", "reward")
_ANSWERS = ("response", "answer", "text", "content", "completion", "output")


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return prompt and completion. For a Base model one follows the other with nothing between them."""
    return continuation(row, columns, "completion")


def continuation(
    row: Mapping[str, Any], columns: Columns, answer_field: str, before: Sequence[Message] = ()
) -> Example:
    """Return the example of a question and of the answer in another field; either may be a list of messages.

    Args:
        before: the turns before the answer, where they are known; otherwise the question of the row.
    """
    beside = Companions.of(row, columns)
    asked = row.get(columns["prompt"]) if "prompt" in columns else None
    column = columns[answer_field]
    value, notes = best_answer(row.get(column))
    opening = tuple(before) or _opening(asked, columns.get("prompt", "prompt"))
    if not is_turns(value) and not opening:
        return exchange_beside(beside, question_parts(row, columns), beside.answer(answer_text(value, column)), notes)
    if not opening and (question := joined(_filled_questions(row, columns))):
        opening = (Message("user", question),)
    spoken = turns(value, column) if is_turns(value) else (Message("assistant", answer_text(value, column)),)
    if tuple(spoken[: len(opening)]) == opening:  # preference data may repeat the prompt
        spoken = spoken[len(opening) :]
    example = conversation(beside.around((*only_read(opening), *spoken)))
    return replace(example, notes=(*example.notes, *notes))


def exchange_beside(beside: Companions, parts: Sequence[str], answer: str, notes: Sequence[Remark] = ()) -> Example:
    """Return the example of one question, in parts, and its answer. Raises `RowSkipped` where one is empty."""
    question = beside.question(parts)
    if not answer.strip():
        raise RowSkipped(NO_ANSWER)
    opening = (Message("system", beside.system),) if beside.system.strip() else ()
    said = (Message("user", question), Message("assistant", answer, thought=beside.thought))
    example = conversation((*opening, *beside.history, *said))
    if not beside.history:
        end = "\n" if beside.choices else ""
        prompt = Piece(joined([beside.system, question]) + end, learnt=False)
        example = replace(example, pieces=(prompt, Piece(answer, learnt=True)))
    return replace(example, notes=(*example.notes, *notes))


def question_parts(row: Mapping[str, Any], columns: Columns) -> list[str]:
    """Return the parts of a question that a row has. Raises `RowSkipped` where it has none."""
    parts = _filled_questions(row, columns)
    if not parts:
        raise RowSkipped(
            Remark.of("empty_field", field=next((columns[f] for f in QUESTIONS if f in columns), "prompt"))
        )
    return parts


def _filled_questions(row: Mapping[str, Any], columns: Columns) -> list[str]:
    return [part for field in QUESTIONS if field in columns and (part := text(row, columns, field)).strip()]


def _opening(value: Any, column: str) -> tuple[Message, ...]:
    """Return the turns that a prompt consists of; none for a prompt that is text."""
    if is_turns(value):
        return turns(value, column)
    spoken = transcript(value) if isinstance(value, str) else ()
    return spoken[:-1] if spoken and not spoken[-1].content else spoken


def is_turns(value: Any) -> bool:
    """Return whether a cell holds messages: a list of them, or one."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping) and bool({"role", "from"} & value.keys())


def answer_text(value: Any, column: str) -> str:
    """Return an answer as text. Raises `RowSkipped` where there are several, or none."""
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        value = value["text"]  # as SQuAD writes it
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        different = list(dict.fromkeys(value))
        if len(different) > 1:
            raise RowSkipped(Remark.of("several_answers", field=column))
        value = different[0] if different else ""
    if not is_filled(value):
        raise RowSkipped(Remark.of("empty_field", field=column))
    return as_text(value, column)


def best_answer(value: Any) -> tuple[Any, tuple[Remark, ...]]:
    """Return the best of several answers that have a rank (1 is best) or a score; another value as it is."""
    if not is_turns(value) or not isinstance(value, list):
        return value, ()
    for names, sign in ((_RANKS, -1), (_SCORES, 1)):
        judged = [(_first_number(item, names), item) for item in value]
        if all(number is not None for number, _ in judged) and not any(
            {"role", "from"} & item.keys() for item in value
        ):
            best = max(judged, key=lambda one: sign * (one[0] or 0.0))[1]
            return next((best[key] for key in _ANSWERS if is_filled(best.get(key))), None), (Remark("best_answer"),)
    return value, ()


def _first_number(item: Mapping[str, Any], names: Sequence[str]) -> float | None:
    for name in names:
        try:
            return float(item[name])
        except (KeyError, TypeError, ValueError):
            continue
    return None


def only_read(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages whose answers are read and not learnt."""
    return tuple(replace(message, learnt=False) if message.role == "assistant" else message for message in messages)


FORMAT = Format(
    name="prompt-completion",
    title=gettext_noop("Prompt and completion"),
    explanation=gettext_noop("A prompt and its completion, or a question and its answer. Only the second is learnt."),
    order=40,
    fields=(
        Field(
            "prompt",
            (
                *("question", "input", "query", "problem", "user", "inputs", "human", "message"),
                *("问题", "提问", "用户", "article", "document"),
            ),
        ),
        Field(
            "completion",
            (
                *("solution", "answer", "output", "response", "target", "assistant", "reply"),
                *("answers", "answerkey", "responses", "completions", "targets", "bot", "summary", "highlights"),
                *("回答", "答案", "回复", "助手", "摘要"),
            ),
        ),
    ),
    companions=(
        Field("input", ("query",), required=False),
        Field("question", ("query", "problem"), required=False),
        *COMPANIONS,
    ),
    read=read,
)
