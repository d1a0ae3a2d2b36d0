"""Reading the turns of a conversation, in the shapes that datasets give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from studio.engine.data.formats.base import Message
from studio.engine.data.formats.marks import MARKS, is_filled, is_learnt
from studio.engine.data.formats.values import as_text
from studio.engine.data.report import Remark, RowSkipped

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "question": "user",
    "instruction": "user",
    "prompt": "user",
    "input": "user",
    "query": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "chatgpt": "assistant",
    "answer": "assistant",
    "response": "assistant",
    "completion": "assistant",
    "output": "assistant",
}
_THOUGHT = "thought"
_THOUGHT_ROLES = {"thought", "thinking", "think", "reasoning"}
_TOOL_ROLES = {"tool", "function", "function_call", "tool_call", "tool_response", "observation", "ipython"}
_TOOL_PARTS = {"tool_use", "tool_result", "tool_call", "function_call"}
MEDIA = frozenset(
    f"{name}{ending}" for name in ("image", "audio", "video", "speech", "img") for ending in ("", "s", "_path", "_url")
)
"""Keys of a message or of a row that hold what is no text."""
THOUGHTS = ("reasoning_content", "thinking", "reasoning", "thought", "thoughts", "cot", "chain_of_thought")
"""Keys of a message that hold what the assistant thought."""
_ROLE_KEYS = ("role", "from", "speaker", "author")
_CONTENT_KEYS = ("content", "value", "text", "message", "utterance", "parts")
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
_THOUGHT_PARTS = ("thinking", "reasoning")
_TOOL_KEYS = {"functionCall", "functionResponse", "executableCode", "codeExecutionResult"}
_TYPED_KEYS = _TOOL_KEYS | {"inlineData", "fileData"}
"""Keys of a part that has no type, as Gemini writes parts, and is no text."""


def turns(value: Any, field: str) -> tuple[Message, ...]:
    """Return the turns of a conversation.

    A turn is an object with a role and a content, under any of their customary names, or a pair of the two. One object,
    or a pair of texts, may also hold a question and its answer. Texts alone are question and answer in turn, the
    first a question.

    Raises:
        RowSkipped: it is no list of turns, or a turn lacks its role or content, or uses tools or images, or has a mark
            that is not understood.
    """
    value = _as_objects(value)
    if not isinstance(value, list) or not value:
        is_encoded = isinstance(value, str) and value.lstrip().startswith("[")
        raise RowSkipped(Remark.of("list_as_text" if is_encoded else "not_a_list", field=field))
    if len(value) > 1 and all(isinstance(item, str) for item in value):
        return tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(value))
    return _with_thoughts([message for item in value for message in _messages(item)])


def _with_thoughts(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages with each thought that is one of them beside the answer that follows it."""
    kept: list[Message] = []
    thought = ""
    for message in messages:
        if message.role == _THOUGHT:
            thought = "\n\n".join(filter(None, (thought, message.content)))
            continue
        if thought and message.role != "assistant":
            raise RowSkipped(Remark("thought_without_answer"))
        kept.append(replace(message, thought="\n\n".join(filter(None, (thought, message.thought)))))
        thought = ""
    return tuple(kept)


def alternating(texts: Sequence[str]) -> tuple[Message, ...]:
    """Return texts as questions and answers in turn, the last of them an answer."""
    roles = ("assistant", "user")
    return tuple(Message(roles[place % 2], text) for place, text in enumerate(reversed(texts)))[::-1]


def transcript(text: str) -> tuple[Message, ...]:
    r"""Return the turns of a text such as "\n\nHuman: …\n\nAssistant: …" (HH-RLHF); none where it is no such text."""
    if not text.lstrip().startswith("Human:") or "\n\nAssistant:" not in text:
        return ()
    messages: list[Message] = []
    for part in ("\n\n" + text.lstrip()).split("\n\n"):
        speaker, colon, said = part.partition(":")
        if colon and speaker in ("Human", "Assistant"):
            messages.append(Message(_ROLES[speaker.lower()], said.strip()))
        elif messages:
            last = messages[-1]
            messages[-1] = Message(last.role, f"{last.content}\n\n{part}".strip())
    return tuple(messages)


def _as_objects(value: Any) -> Any:
    """Return a list of objects for pairs of role and text, and for an object of lists of the same length."""
    if isinstance(value, list) and value and all(_is_role_and_text(item) for item in value):
        return [{"role": role, "content": text} for role, text in value]
    if isinstance(value, Mapping):
        columns = list(value.values())
        if columns and all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns):
            return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
        return [value] if any(is_filled(value.get(key)) for key in _ROLE_KEYS) else value
    return value


def _is_role_and_text(item: Any) -> bool:
    is_pair = isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(text, str) for text in item)
    return is_pair and item[0].strip().lower() in (_ROLES.keys() | _TOOL_ROLES)


def _messages(item: Any) -> list[Message]:
    if isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(text, str) for text in item):
        return list(alternating(item))
    if not isinstance(item, Mapping):
        raise RowSkipped(Remark("message_not_object"))
    name = _first(item, _ROLE_KEYS)
    if name is None and (pair := _pair(item)):
        return pair
    return [_turn(item, name)]


def _pair(item: Mapping[str, Any]) -> list[Message]:
    """Return the turns of an object whose keys are roles, such as human and assistant; [] for another one."""
    spoken = {key: _ROLES[key.lower()] for key, text in item.items() if key.lower() in _ROLES and is_filled(text)}
    order = ("system", "user", "assistant")
    if not {"user", "assistant"} & set(spoken.values()):
        return []
    said: dict[str, list[str]] = {role: [] for role in order}
    for key, role in spoken.items():
        said[role].append(as_text(item[key], key))
    learnt, thought = is_learnt(item), _thought(item)
    return [
        Message(role, "\n\n".join(texts), learnt, thought) if role == "assistant" else Message(role, "\n\n".join(texts))
        for role, texts in said.items()
        if texts
    ]


def _turn(item: Mapping[str, Any], name: Any) -> Message:
    if not isinstance(name, str) or not name.strip():
        raise RowSkipped(_without_role(item))
    if name.lower() in _TOOL_ROLES or item.get("tool_calls") or item.get("function_call"):
        raise RowSkipped(Remark("calls_tools"))
    if any(is_filled(value) for key, value in item.items() if key.lower() in MEDIA):
        raise RowSkipped(Remark("holds_media"))
    role = _THOUGHT if name.strip().lower() in _THOUGHT_ROLES else _ROLES.get(name.strip().lower())
    if role is None:
        raise RowSkipped(Remark.of("unknown_role", role=ascii(name[:30])))
    content = _first(item, _CONTENT_KEYS)
    thought = _thought(item)
    if content is None:
        raise RowSkipped(Remark("message_without_content"))
    if isinstance(content, list):
        thought = "".join((thought, *(_thought_part(part) for part in content)))
        content = "".join(_part(part) for part in content)
    is_answer = role == "assistant"
    return Message(role, as_text(content, "content"), not is_answer or is_learnt(item), thought if is_answer else "")


def _first(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the value of the first key that has one: merged files leave the keys of the other file empty."""
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _without_role(item: Mapping[str, Any]) -> Remark:
    keys = ", ".join(key for key, value in item.items() if is_filled(value) and key.lower() not in MARKS)
    return Remark.of("message_without_role", keys=keys[:80] or "-")


def _thought(item: Mapping[str, Any]) -> str:
    thought = _first(item, THOUGHTS)
    return thought if isinstance(thought, str) else ""


def _part(part: Any) -> str:
    if isinstance(part, Mapping):
        kind = part.get("type") or next((key for key in part if key in _TYPED_KEYS), "text")
        if kind in _THOUGHT_PARTS:
            return ""
        if kind in _TOOL_PARTS | _TOOL_KEYS:
            raise RowSkipped(Remark("calls_tools"))
        if kind not in _TEXT_PARTS:
            raise RowSkipped(Remark("holds_media"))
        part = part.get("refusal" if kind == "refusal" else "text")
    return as_text(part, "content")


def _thought_part(part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type") in _THOUGHT_PARTS:
        return as_text(_first(part, (*_THOUGHT_PARTS, "text")), "content")
    return ""
