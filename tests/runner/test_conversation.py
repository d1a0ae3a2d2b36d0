"""A conversation with two models: what each is shown, what streams, and what is left of an answer that was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.engine.control import no_progress
from studio.engine.inference.answers import BASE, BESIDE, TUNED, ChatSettings
from studio.errors import Cancelled
from studio.runner import actions
from studio.runner.conversation import Conversation, Pair
from tests.ui.chat_fakes import FakeChat

PAIR = Pair(run=Path("/runs/one"))


@pytest.fixture
def chats(monkeypatch: pytest.MonkeyPatch) -> list[FakeChat]:
    """All conversations that were opened."""
    opened: list[FakeChat] = []

    def open_chat(path: Path, _progress: Any, *, beside: Path | None) -> FakeChat:
        names = (TUNED, BASE if beside is None else BESIDE)
        opened.append(FakeChat({TUNED: "It is red.", names[1]: "It is blue."}, path))
        return opened[-1]

    monkeypatch.setattr(actions, "open_chat", open_chat)
    return opened


@pytest.fixture
def conversation(chats: list[FakeChat]) -> Iterator[Conversation]:
    return Conversation()


def test_both_answer_and_the_first_token_that_differs_is_known(conversation: Conversation) -> None:
    conversation.ask(PAIR, "Which colour?", ChatSettings())(no_progress)
    assert conversation.poll()
    (turn,) = conversation.turns
    assert (turn.tuned.text, turn.other.text) == ("It is red.", "It is blue.")
    assert turn.difference == 2
    # Both have the probabilities of the other model too.
    assert [token.other for token in turn.tuned.tokens] == [0.25] * 3


def test_each_model_sees_its_own_answers(conversation: Conversation, chats: list[FakeChat]) -> None:
    for question in ("One?", "Two?"):
        conversation.ask(PAIR, question, ChatSettings())(no_progress)
        conversation.poll()
    assert len(chats) == 1
    for name, own in ((TUNED, "It is red."), (BASE, "It is blue.")):
        assert [turn["content"] for turn in chats[0].models[name].asked[-1]] == ["One?", own, "Two?"]


def test_what_was_said_before_stop_stays_and_the_other_model_is_not_asked(conversation: Conversation) -> None:
    def stop_at_two(_stage: str, done: int, _total: int) -> None:
        if done == 2:
            raise Cancelled("enough")

    action = conversation.ask(PAIR, "Which colour?", ChatSettings())
    with pytest.raises(Cancelled):
        action(stop_at_two)
    conversation.end_turn()
    (turn,) = conversation.turns
    assert (turn.tuned.text, turn.tuned.stopped) == ("It is", True)
    assert (turn.other.text, turn.other.stopped) == ("", True)
    # What the tuned model said so far belongs to its conversation; the other one never heard the question.
    action = conversation.ask(PAIR, "And now?", ChatSettings())
    action(no_progress)
    assert conversation.chat is not None
    asked = {name: conversation.chat.models[name].asked[-1] for name in (TUNED, BASE)}  # type: ignore[attr-defined]
    assert [turn["content"] for turn in asked[TUNED]] == ["Which colour?", "It is", "And now?"]
    assert [turn["content"] for turn in asked[BASE]] == ["And now?"]


def test_a_question_that_nobody_heard_is_taken_back(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise Cancelled("while the models were loaded")

    monkeypatch.setattr(actions, "open_chat", refuse)
    with pytest.raises(Cancelled):
        conversation.ask(PAIR, "Which colour?", ChatSettings())(no_progress)
    conversation.end_turn()
    assert conversation.turns == []
    assert not conversation.holds(PAIR)


def test_other_models_take_the_memory_of_those_before(conversation: Conversation, chats: list[FakeChat]) -> None:
    conversation.ask(PAIR, "One?", ChatSettings())(no_progress)
    assert conversation.holds(PAIR)
    other = Pair(run=PAIR.run, beside=Path("/runs/two"))
    conversation.begin_anew()
    conversation.ask(other, "Two?", ChatSettings())(no_progress)
    assert [chat.closed for chat in chats] == [True, False]
    assert conversation.holds(other)
    conversation.release()
    assert chats[1].closed


def test_models_with_different_vocabularies_are_not_held_against_each_other(
    conversation: Conversation, chats: list[FakeChat]
) -> None:
    conversation.ask(PAIR, "One?", ChatSettings())(no_progress)
    chats[0].vocabulary_shared = False
    conversation.ask(PAIR, "Two?", ChatSettings())(no_progress)
    conversation.poll()
    turn = conversation.turns[-1]
    assert turn.difference is None
    assert turn.tuned.tokens[0].other is None


def test_a_new_conversation_with_a_run_under_way_takes_its_newest_checkpoint(
    conversation: Conversation, chats: list[FakeChat]
) -> None:
    for question in ("One?", "Two?"):
        conversation.ask(PAIR, question, ChatSettings())(no_progress)
    chats[0].note = "The run is under way; this is its checkpoint of update 3."
    conversation.begin_anew()
    assert not conversation.holds(PAIR)
    conversation.ask(PAIR, "Three?", ChatSettings())(no_progress)
    assert [chat.closed for chat in chats] == [True, False]
