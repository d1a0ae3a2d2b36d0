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

from studio.engine.inference.answers import ChatAnswer, ChatSettings
from studio.runner import actions
from tests.cli.conftest import Answer

Command = Callable[..., Answer]


def _chat(*names: str) -> SimpleNamespace:
    return SimpleNamespace(models={name: _Model(name) for name in names})


class _Model:
    """Says how many turns it was shown."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, turns: Sequence[Any], settings: ChatSettings, **_options: Any) -> ChatAnswer:
        self.settings = settings
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


def test_settings_reach_the_model_and_a_wrong_one_is_refused(
    command: Command, tmp_path: Path, opened: SimpleNamespace
) -> None:
    asked = (
        "chat",
        tmp_path,
        "--prompt",
        "Hi",
        "--temperature",
        "0.7",
        "--top-p",
        "0.9",
        "--limit",
        "20",
        "--seed",
        "3",
    )
    assert command(*asked, "--system", "Be brief.").status == 0
    wanted = ChatSettings(temperature=0.7, top_p=0.9, limit=20, seed=3, system="Be brief.")
    assert opened.chat.models["tuned"].settings == wanted
    wrong = command("chat", tmp_path, "--prompt", "Hi", "--top-p", "2")
    assert wrong.status == 2
    assert "top_p" in wrong.err


def test_another_run_or_an_export_answers_beside(command: Command, tmp_path: Path, opened: SimpleNamespace) -> None:
    opened.chat = _chat("tuned", "beside")
    both = command("chat", tmp_path, "--prompt", "Hi", "--beside", tmp_path / "other", "--json")
    assert [answer["model"] for answer in json.loads(both.out)["answers"]] == ["tuned", "beside"]
