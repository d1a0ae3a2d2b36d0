"""Columns by their roles: what a choice in the window means for a source, and the way back."""

from __future__ import annotations

from studio.engine.data.formats import FORMATS
from studio.engine.data.roles import Mapped, choice_of, mapped

ODD = ("№", "Frage", "Antwort", "Hinweis", "system")


def chosen(**roles: str | tuple[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (column, "") if isinstance(column, str) else column for name, column in roles.items()}


def test_question_and_answer_become_prompt_and_completion() -> None:
    assert mapped(chosen(question="Frage", answer="Antwort"), ODD[:3], (), "auto", ()) == Mapped(
        "prompt-completion", {"prompt": "Frage", "completion": "Antwort"}, ()
    )


def test_every_role_has_a_field_and_comes_back_as_it_was_chosen() -> None:
    names = tuple("abcdefgh")
    choice = chosen(question=("a", "b"), answer=("c", "d"), system="e", context=("f", "g"), history="h")
    source = mapped(choice, names, (), "auto", ())
    assert source is not None
    found = FORMATS.get(source.format).columns(names, source.columns)
    back = choice_of(found)
    assert {role: columns for role, columns in back.items() if any(columns)} == choice


def test_what_is_recognised_and_not_wanted_is_ignored() -> None:
    source = mapped(chosen(question="Frage", answer="Antwort"), ODD, (), "auto", ("№",))
    assert source == Mapped("prompt-completion", {"prompt": "Frage", "completion": "Antwort"}, ("№", "system"))
    assert mapped(chosen(question="Frage", answer="Antwort", system="system"), ODD, (), "auto", ("system",)) == Mapped(
        "prompt-completion", {"prompt": "Frage", "completion": "Antwort", "system": "system"}, ()
    )


def test_the_format_that_was_recognised_stays_where_it_suits() -> None:
    names = ("instruction", "input", "output", "note")
    choice = chosen(question=("instruction", "note"), answer="output")
    source = mapped(choice, names, (), "alpaca", ())
    assert source is not None
    assert source.format == "alpaca"
    assert source.columns == {"instruction": "instruction", "input": "note", "output": "output"}


def test_a_chosen_answer_needs_no_rejected_one() -> None:
    source = mapped(chosen(question="Frage", chosen="Antwort"), ODD[:3], (), "auto", ())
    assert source is not None
    assert source.columns == {"prompt": "Frage", "completion": "Antwort"}
    pair = mapped(chosen(question="Frage", chosen=("Antwort", "Hinweis")), ODD[:4], (), "auto", ())
    assert pair is not None
    assert (pair.format, pair.columns["rejected"]) == ("preference", "Hinweis")


def test_a_whole_conversation_is_messages_or_text_by_what_it_holds() -> None:
    for lists, name in ((("Verlauf",), "messages"), ((), "text")):
        source = mapped(chosen(conversation="Verlauf"), ("Verlauf",), lists, "auto", ())
        assert source is not None
        assert source.format == name


def test_a_choice_without_an_answer_is_not_complete() -> None:
    assert mapped(chosen(question="Frage"), ODD, (), "auto", ()) is None
    assert mapped({}, ODD, (), "auto", ()) is None
