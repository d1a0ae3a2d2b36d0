"""Which column holds what, in the words of a user: roles such as question, over the fields of all formats."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from studio.engine.data.formats import FORMATS, Format
from studio.i18n import gettext_noop

Choice: TypeAlias = Mapping[str, tuple[str, str]]
"""The columns of each role by its name, a first and a second one; "" for none."""


@dataclass(frozen=True)
class Role:
    """What a column is for.

    Attributes:
        first, second: fields of formats that hold it, the customary one first. `second` is what may follow it.
        also: what the second column is called; "" where there is none.
    """

    name: str
    title: str
    help: str
    first: tuple[str, ...]
    second: tuple[str, ...] = ()
    also: str = ""


ROLES = (
    Role(
        "question",
        gettext_noop("Question"),
        gettext_noop("What is asked or instructed. It is read, not learnt."),
        ("prompt", "instruction"),
        ("input", "question"),
        gettext_noop("2nd part"),
    ),
    Role(
        "answer",
        gettext_noop("Answer"),
        gettext_noop("What the model learns to say."),
        ("completion", "output"),
        ("thought",),
        gettext_noop("thoughts"),
    ),
    Role("system", gettext_noop("System"), gettext_noop("Instructions that stand before everything."), ("system",)),
    Role(
        "context",
        gettext_noop("Context"),
        gettext_noop("Text that the question is about; it stands before the question."),
        ("context",),
        ("choices",),
        gettext_noop("choices"),
    ),
    Role("history", gettext_noop("History"), gettext_noop("Earlier turns of the conversation."), ("history",)),
    Role(
        "chosen",
        gettext_noop("Chosen"),
        gettext_noop("The better of two answers (DPO). It is learnt; the rejected one is not."),
        ("chosen",),
        ("rejected",),
        gettext_noop("rejected"),
    ),
    Role(
        "conversation",
        gettext_noop("Whole conversation"),
        gettext_noop("A list of messages, or a text that is learnt as it stands."),
        ("messages", "conversations", "conversation", "text"),
    ),
)

# Formats that a choice may become, the customary one first.
_TARGETS = ("prompt-completion", "preference", "alpaca", "messages", "text")
_ROLE_FIELDS = {field for role in ROLES for field in (*role.first, *role.second)}


@dataclass(frozen=True)
class Mapped:
    """A choice as it stands in a source of the configuration."""

    format: str
    columns: dict[str, str]
    ignored_columns: tuple[str, ...]


def choice_of(columns: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the columns of each role, from those of the fields of a format."""
    chosen = {}
    for role in ROLES:
        first, second = (
            [columns[field] for field in fields if field in columns] for fields in (role.first, role.second)
        )
        slots = [*first, *second] if role.name == "question" else [*(first[:1] or [""]), *second]
        one, two, *_ = *slots, "", ""
        chosen[role.name] = (one, two)
    return chosen


def mapped(
    choice: Choice, names: Collection[str], lists: Collection[str], current: str, ignored: Iterable[str]
) -> Mapped | None:
    """Return what the configuration says for a choice of columns; None while it is not complete.

    Args:
        names: the columns of the file.
        lists: those that hold lists, such as messages.
        current: the format in use, which stays where it suits.
        ignored: columns that the user has ignored so far.
    """
    wanted = {
        (role.name, place): column for role in ROLES for place, column in enumerate(choice.get(role.name, ())) if column
    }
    if ("chosen", 0) in wanted and ("chosen", 1) not in wanted and ("answer", 0) not in wanted:
        wanted["answer", 0] = wanted.pop(("chosen", 0))  # without a rejected one it is an answer
    for name in dict.fromkeys((current, *_TARGETS)):
        chosen = next((known for known in FORMATS if known.name == name), None)
        columns = _fields(chosen, wanted) if chosen else None
        if chosen is None or columns is None or not _suits(chosen, columns, names, lists):
            continue
        used = set(columns.values())
        found = chosen.columns([name for name in names if name not in used], {})
        unwanted = [column for field, column in found.items() if field in _ROLE_FIELDS and field not in columns]
        kept = [name for name in ignored if name not in used]
        return Mapped(name, columns, tuple(dict.fromkeys((*kept, *unwanted))))
    return None


def _fields(chosen: Format, wanted: Mapping[tuple[str, int], str]) -> dict[str, str] | None:
    """Return the column of each field; None where the format has no field for a column, or none for one."""
    known = {field.name for field in (*chosen.fields, *chosen.companions)}
    columns: dict[str, str] = {}
    for role in ROLES:
        for place, fields in enumerate((role.first, role.second)):
            column = wanted.get((role.name, place))
            field = next((field for field in fields if field in known), None)
            if column and field is None:
                return None
            if column and field:
                columns[field] = column
    return columns


def _suits(chosen: Format, columns: Mapping[str, str], names: Collection[str], lists: Collection[str]) -> bool:
    """Return whether a format can be read with these columns; a text is no list of messages, and a list no text."""
    found = chosen.columns(names, columns)
    needed = [field.name for field in chosen.fields if field.required]
    if not columns or any(field not in (columns if field in _ROLE_FIELDS else found) for field in needed):
        return False
    return all((columns[field] in lists) == (field != "text") for field in ROLES[-1].first if field in columns)
