"""A conversation with two models at once: what is said, and the models that say it.

It belongs to the window's thread. What is to be done in the background is an action (`studio.runner.task`). The
action never touches the turns: it puts what the models say into a queue, and `poll` takes it from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from studio.engine.control import Progress, no_progress
from studio.engine.inference.answers import (
    BASE,
    BESIDE,
    TUNED,
    ChatAnswer,
    ChatSettings,
    Token,
    first_difference,
    with_others,
)
from studio.errors import DataError
from studio.i18n import tr
from studio.runner import actions
from studio.runner.task import Action
from studio.runs import write_atomically

if TYPE_CHECKING:
    from studio.engine.inference.dialogue import OpenChat

Side: TypeAlias = Literal["tuned", "other"]
SIDES: tuple[Side, ...] = ("tuned", "other")
"""In the order in which they answer: the tuned model is the one that people wait for."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Whom to ask: the result of a run, and its base, or what stands in the base's place (a run or an export)."""

    run: Path
    beside: Path | None = None


@dataclass
class Said:
    """What one model has said so far in one turn.

    Attributes:
        answer: once it is complete.
        stopped: whether the user ended it before.
    """

    tokens: list[Token] = field(default_factory=list)
    answer: ChatAnswer | None = None
    stopped: bool = False

    @property
    def text(self) -> str:
        return self.answer.text if self.answer else "".join(token.text for token in self.tokens)


@dataclass
class Turn:
    """One prompt and both answers.

    Attributes:
        settings: how it was asked.
        expected: what is known of the answer; "" is nothing.
        comparable: whether a token means the same to both models.
    """

    prompt: str
    settings: ChatSettings = field(default_factory=ChatSettings)
    expected: str = ""
    tuned: Said = field(default_factory=Said)
    other: Said = field(default_factory=Said)
    comparable: bool = True

    def said(self, side: Side) -> Said:
        return self.tuned if side == "tuned" else self.other

    @property
    def difference(self) -> int | None:
        """The place of the first token in which the answers differ, as far as they go; None where there is none."""
        return first_difference(self.tuned.tokens, self.other.tokens) if self.comparable else None


_Update: TypeAlias = tuple[Side, Token | ChatAnswer] | None
"""None says that the two models do not share a vocabulary."""


class Conversation:
    """One conversation at a time, and the models in memory.

    Attributes:
        turns: all of them, the newest last.
    """

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._pair: Pair | None = None
        self._chat: OpenChat | None = None
        self._stale = False
        self._said: SimpleQueue[_Update] = SimpleQueue()

    @property
    def chat(self) -> OpenChat | None:
        """The models in memory."""
        return self._chat

    def holds(self, pair: Pair) -> bool:
        """Whether these models are in memory."""
        return self._chat is not None and self._pair == pair and not self._stale

    def begin_anew(self) -> None:
        """Forget what was said. The models stay in memory, but for those of a checkpoint."""
        self.turns = []
        self.renew()

    def renew(self) -> None:
        """Load the models anew at the next question where a checkpoint answers for a run: there may be a newer one."""
        self._stale = self._chat is not None and bool(self._chat.note)

    def ask(self, pair: Pair, prompt: str, settings: ChatSettings, expected: str = "") -> Action:
        """Add a turn, and return the action that has it answered by both models, one after the other.

        The action loads the models first, where others or none are in memory, and raises what that raises.
        """
        histories = {side: [*self._messages(side, self.turns), _said("user", prompt)] for side in SIDES}
        self.turns.append(Turn(prompt, settings, expected))

        def answer(progress: Progress) -> None:
            chat = self._load(pair, progress)
            models = {"tuned": chat.models[TUNED], "other": chat.models[BASE if pair.beside is None else BESIDE]}
            answers: dict[Side, ChatAnswer] = {}
            if not (shared := chat.vocabulary_shared):
                self._said.put(None)
            for side in SIDES:
                answers[side] = models[side].answer(histories[side], settings, self._receive(side), progress)
                self._said.put((side, answers[side]))
            if not shared:
                return
            for side, other in zip(SIDES, SIDES[::-1], strict=True):
                progress("comparing_answers", 0, 0)
                ids = [token.id for token in answers[side].tokens]
                found = models[other].probabilities(histories[side], ids, settings)
                self._said.put((side, with_others(answers[side], found)))

        return answer

    def poll(self) -> bool:
        """Put into the newest turn what was said since the last call; return whether that was anything."""
        came = False
        while True:
            try:
                update = self._said.get_nowait()
            except Empty:
                return came
            came = True
            if update is None:
                self.turns[-1].comparable = False
                continue
            side, what = update
            said = self.turns[-1].said(side)
            if isinstance(what, Token):
                said.tokens.append(what)
            else:
                said.tokens, said.answer = list(what.tokens), what

    def end_turn(self) -> None:
        """Let the newest turn be over: an answer that is not complete was stopped. An empty turn is taken back."""
        self.poll()
        turn = self.turns[-1]
        for side in SIDES:
            turn.said(side).stopped = turn.said(side).answer is None
        if not any(turn.said(side).tokens for side in SIDES):
            self.turns.pop()

    def release(self, _progress: Progress = no_progress) -> None:
        """Give the memory of the models back; the next question loads them again. Runs in a task."""
        chat, self._chat, self._pair = self._chat, None, None
        if chat is not None:
            chat.close()

    def _load(self, pair: Pair, progress: Progress) -> OpenChat:
        if self._chat is None or self._pair != pair or self._stale:
            self.release()
            self._chat = actions.open_chat(pair.run, progress, beside=pair.beside)
            self._pair, self._stale = pair, False
        return self._chat

    def _receive(self, side: Side) -> Callable[[Token], None]:
        return lambda token: self._said.put((side, token))

    def row(self, last: Turn, side: Side) -> dict[str, Any]:
        """Return the conversation up to a turn, with one model's answers, as a row of a data file."""
        turns = self.turns[: self.turns.index(last) + 1]
        messages = self._messages(side, turns)
        if last.settings.asked == "plain":
            return {"text": "".join([last.settings.system, *(turn["content"] for turn in messages)])}
        system = [_said("system", last.settings.system)] if last.settings.system else []
        return {"messages": [*system, *messages]}

    def markdown(self, names: Mapping[Side, str]) -> str:
        """Return all that was said, as Markdown; `names` are those of the two models."""
        parts = []
        for turn in self.turns:
            parts.append(f"## {tr('Question')}\n\n{turn.prompt}")
            parts += [f"### {names[side]}\n\n{turn.said(side).text}" for side in SIDES[::-1]]
            values = turn.settings.model_dump(exclude_defaults=True)
            if values:
                parts.append("\n".join(f"- {key}: {value}" for key, value in values.items()))
        return "\n\n".join(parts) + "\n"

    def _messages(self, side: Side, turns: Sequence[Turn]) -> list[dict[str, str]]:
        """Return what one model was asked and has said. Turns that it never answered are left out."""
        return [
            message
            for turn in turns
            if (text := turn.said(side).text)
            for message in (_said("user", turn.prompt), _said("assistant", text))
        ]


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a JSON Lines file, which is made if it is not there.

    Raises:
        DataError: it cannot be written.
    """
    line = json.dumps(row, ensure_ascii=False) + "\n"
    try:
        with path.open("a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(line.encode())
    except OSError as error:
        raise DataError(tr("{path} cannot be written: {reason}.").format(path=path, reason=error.strerror)) from error


def write_markdown(path: Path, text: str) -> None:
    """Write a conversation into a file. Raises `DataError`."""
    try:
        write_atomically(path, text)
    except OSError as error:
        raise DataError(tr("{path} cannot be written: {reason}.").format(path=path, reason=error.strerror)) from error
