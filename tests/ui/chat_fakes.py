"""Stands for the models of a conversation: each says what it was told to say, a word a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.engine.control import Progress, no_progress
from studio.engine.inference.answers import ChatAnswer, ChatSettings, Token


class FakeModel:
    """Says one sentence. `asked` are the conversations that it was shown, `before_token` is called in its thread."""

    def __init__(self, name: str, says: str) -> None:
        self.name, self.says = name, says
        self.asked: list[list[Mapping[str, str]]] = []
        self.settings: list[ChatSettings] = []
        self.before_token: Callable[[int], None] = lambda _place: None

    def answer(
        self,
        messages: Sequence[Mapping[str, str]],
        settings: ChatSettings,
        receive: Callable[[Token], Any],
        progress: Progress = no_progress,
    ) -> ChatAnswer:
        self.asked.append(list(messages))
        self.settings.append(settings)
        tokens = []
        for place, word in enumerate(self.says.split(" "), 1):
            self.before_token(place)
            text = word if place == 1 else f" {word}"
            tokens.append(Token(id=sum(map(ord, word)), text=text, probability=0.5))
            receive(tokens[-1])
            progress("asking", place, settings.limit)
        return ChatAnswer(
            model=self.name, text=self.says, tokens=tuple(tokens), ended=True, first_token_seconds=0.05, seconds=0.25
        )

    def probabilities(self, _messages: Any, tokens: Sequence[int], _settings: ChatSettings) -> list[float]:
        return [0.25] * len(tokens)


class FakeChat:
    """What the window reads of an OpenChat."""

    def __init__(self, says: Mapping[str, str], path: Path) -> None:
        self.models = {name: FakeModel(name, words) for name, words in says.items()}
        self.path = path
        self.copies, self.bytes, self.note = 1, 513 * 1024 * 1024, ""
        self.vocabulary_shared = True
        self.closed = False

    def close(self) -> None:
        self.closed = True
