"""Columns that stand beside question and answer and belong to them: system, context, history, choices and thought."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from studio.engine.data.formats.base import Columns, Field, Message
from studio.engine.data.formats.turns import THOUGHTS, alternating, turns
from studio.engine.data.formats.values import as_text
from studio.engine.data.report import Remark, RowSkipped

COMPANIONS = (
    Field(
        "system",
        (
            "system_prompt",
            "system_message",
            "system_instruction",
            "systeminstruction",
            "sys_prompt",
            "preamble",
            "系统",
            "系统提示",
            "系统提示词",
        ),
        required=False,
    ),
    Field(
        "context",
        (
            *("contexts", "passage", "passages", "paragraph", "article", "document", "documents"),
            *("background", "knowledge", "evidence", "上下文", "背景"),
        ),
        required=False,
    ),
    Field("history", ("chat_history", "conversation_history", "dialogue_history", "past", "历史"), required=False),
    Field("choices", ("options", "candidates", "选项"), required=False),
    Field(
        "thought", (*THOUGHTS, "rationale", "complex_cot", "think", "reasoning_trace", "思考", "思维链"), required=False
    ),
)

_ADJACENT = 12  # characters from which a part of a question that another part holds already is not repeated


@dataclass(frozen=True, slots=True)
class Companions:
    """What stands beside question and answer in one row. Each may be empty.

    Attributes:
        history: earlier turns, which are read and not learnt.
        choices: label and text of each.
    """

    system: str
    context: str
    history: tuple[Message, ...]
    choices: tuple[tuple[str, str], ...]
    thought: str

    @classmethod
    def of(cls, row: Mapping[str, Any], columns: Columns) -> Companions:
        """Read them from a row. Raises `RowSkipped` where one of them cannot be read."""
        cells = ((_cell(row, columns, name), columns.get(name, name)) for name in ("context", "thought"))
        context, thought = (_joined(cell, column) for cell, column in cells)
        history = _cell(row, columns, "history")
        earlier: tuple[Message, ...] = ()
        if isinstance(history, str):
            context = "\n\n".join(part for part in (history, context) if part.strip())
        elif history:
            earlier = tuple(replace(message, learnt=False) for message in _earlier(history))
        return cls(
            _system(_cell(row, columns, "system"), columns.get("system", "system")),
            context,
            earlier,
            _choices(_cell(row, columns, "choices")),
            thought,
        )

    @property
    def listed_choices(self) -> str:
        """The choices as text, one choice a line."""
        return "\n".join(f"{label}. {choice}" if label else choice for label, choice in self.choices)

    def question(self, parts: Sequence[str]) -> str:
        """Return a question of several parts, the context before the last of them and the choices behind it."""
        *before, last = [part for part in parts if part.strip()] or [""]
        return joined([*before, self.context, last, self.listed_choices])

    def answer(self, given: str) -> str:
        """Return the choice that an answer numbers, counted from 0; another answer as it is."""
        labels = [label for label, _ in self.choices]
        if not self.choices or given in labels or not given.isdecimal():
            return given
        if int(given) >= len(self.choices):
            raise RowSkipped(Remark.of("no_such_choice", number=given))
        label, choice = self.choices[int(given)]
        return f"{label}. {choice}" if label else choice

    def around(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return a conversation with them: system and history before it, context and choices in its questions."""
        system = [message for message in messages[:1] if message.role == "system"]
        rest = list(messages[len(system) :])
        last_answer = max((place for place, message in enumerate(rest) if message.role == "assistant"), default=-1)
        asked = [place for place, message in enumerate(rest[: last_answer + 1]) if message.role == "user"]
        if asked:
            first, last = asked[0], asked[-1]
            rest[first] = replace(rest[first], content=joined([self.context, rest[first].content]))
            rest[last] = replace(rest[last], content=joined([rest[last].content, self.listed_choices]))
        if self.thought and last_answer >= 0 and not rest[last_answer].thought:
            rest[last_answer] = replace(rest[last_answer], thought=self.thought)
        instructions = joined([self.system, *(message.content for message in system)])
        opening = (Message("system", instructions),) if instructions else ()
        return (*opening, *self.history, *rest)


def lettered(names: Collection[str]) -> tuple[str, ...]:
    """Return the columns that hold a choice each, as C-Eval has them: A, B and so on; none where there is no B."""
    found = tuple(takewhile(lambda letter: letter in names, string.ascii_uppercase))
    return found if len(found) > 1 else ()


def joined(parts: Sequence[str]) -> str:
    """Return parts of a question with an empty line between them; each part once."""
    kept: list[str] = []
    filled = [part for part in parts if part.strip()]
    for place, part in enumerate(filled):
        others = filled[:place] + [other for other in filled[place + 1 :] if other != part]
        bare = part.strip()
        if not any(bare == other.strip() or (len(bare) >= _ADJACENT and bare in other) for other in others):
            kept.append(part)
    return "\n\n".join(kept)


def _cell(row: Mapping[str, Any], columns: Columns, field: str) -> Any:
    return row.get(columns[field]) if field in columns else None


def _system(value: Any, field: str) -> str:
    """Return a system text, which may be an object, such as one with parts."""
    if not isinstance(value, Mapping):
        return as_text(value, field)
    return "\n\n".join(message.content for message in turns([{**value, "role": "system"}], field))


def _joined(value: Any, field: str) -> str:
    """Return a text, or several of them: a list of texts, or of objects with a text and perhaps a title."""
    if isinstance(value, list):
        return "\n\n".join(_joined(item, field) for item in value)
    if isinstance(value, Mapping):
        said = [value[key] for key in ("title", "text", "content", "passage") if isinstance(value.get(key), str)]
        if said:
            return "\n".join(said)
    return as_text(value, field)


def _earlier(history: Any) -> tuple[Message, ...]:
    if isinstance(history, list) and all(isinstance(item, str) for item in history):
        return alternating(history)
    return turns(history, "history")


def _choices(value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, str):
        return (("", value),) if value.strip() else ()
    if not value:
        return ()
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        texts = value["text"]
        return _labelled(texts, value.get("label") if isinstance(value.get("label"), list) else None)
    if isinstance(value, Mapping):
        return tuple((str(label), as_text(choice, "choices")) for label, choice in value.items() if choice is not None)
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        texts = [item.get("text", item.get("content")) for item in value]
        labels = [item.get("label", item.get("key")) for item in value]
        return _labelled(texts, None if None in labels else labels)
    return _labelled(value if isinstance(value, list) else [value], None)


def _labelled(texts: Sequence[Any], labels: Sequence[Any] | None) -> tuple[tuple[str, str], ...]:
    letters = (
        string.ascii_uppercase if len(texts) <= len(string.ascii_uppercase) else map(str, range(1, len(texts) + 1))
    )
    names = [str(label) for label in labels] if labels and len(labels) == len(texts) else list(letters)
    return tuple((label, as_text(choice, "choices")) for label, choice in zip(names, texts, strict=False))
