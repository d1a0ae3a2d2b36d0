"""`chat`: arguments, text and JSON; the answering itself is tested with the engine."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.engine.inference.answers import ChatAnswer
from studio.runner import actions
from tests.cli.conftest import Answer

Command = Callable[..., Answer]


def _chat(*names: str) -> SimpleNamespace:
    return SimpleNamespace(models={name: _Model(name) for name in names})


class _Model:
    """Says how many turns it was shown."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, turns: Sequence[Any], **_options: Any) -> ChatAnswer:
        text = f"{len(turns)} {turns[-1]['content']}"
        return ChatAnswer(model=self.name, text=text, tokens=(), ended=True, first_token_seconds=0.0, seconds=0.0)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(chat=_chat("base", "tuned"))
    monkeypatch.setattr(actions, "open_chat", lambda *_args: found.chat)
    return found


@pytest.mark.usefixtures("opened")
def test_the_tuned_model_answers_and_the_base_beside_it_if_asked(command: Command, tmp_path: Path) -> None:
    alone = command("chat", tmp_path, "--prompt", "Hi", "--json")
    assert json.loads(alone.out) == {"answers": [{"model": "tuned", "text": "1 Hi"}]}
    both = command("chat", tmp_path, "--prompt", "Hi", "--compare")
    assert both.out.split() == ["base:", "1", "Hi", "tuned:", "1", "Hi"]


@pytest.mark.usefixtures("opened")
def test_a_conversation_goes_on_until_the_input_ends(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n\nAnd?\n"))
    answer = command("chat", tmp_path)
    assert answer.status == 0
    assert [line.removeprefix("> ") for line in answer.out.splitlines()] == ["1 Hi", "3 And?"]


def test_what_cannot_be_answered_is_refused(command: Command, tmp_path: Path, opened: SimpleNamespace) -> None:
    assert command("chat", tmp_path, "--json").status == 2
    opened.chat = _chat("some-model")
    assert command("chat", tmp_path, "--prompt", "Hi", "--compare").status == 2
