"""What is common to all models that are asked: how a conversation becomes tokens, and tokens become an answer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from studio.engine.control import Progress, no_progress
from studio.engine.data.render import Renderer
from studio.engine.inference.answers import ChatAnswer, ChatSettings, Token
from studio.engine.inference.choice import choose, probability
from studio.errors import DataError
from studio.i18n import tr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

Messages: TypeAlias = Sequence[Mapping[str, str]]
Receive: TypeAlias = Callable[[Token], None]


def ignore_token(_token: Token) -> None:
    """Drop what streams by."""


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """How one model is asked.

    Attributes:
        renderer: turns a conversation into tokens.
        ends: tokens that end an answer.
        prefix: tokens that stand in front of every prompt, such as those of a prompt that was baked into the model.
        room: tokens of prompt and answer that the model was made for; None where it sets no limit.
    """

    tokenizer: PreTrainedTokenizerBase
    renderer: Renderer
    ends: tuple[int, ...]
    prefix: tuple[int, ...] = ()
    room: int | None = None

    def longest(self, prompt: Sequence[int], settings: ChatSettings) -> int:
        """Return how many tokens the answer to a prompt may have. Raises `DataError` where there is room for none."""
        if self.room is None:
            return settings.limit
        if len(prompt) >= self.room:
            words = tr("The conversation has {count} tokens, and there is room for {room}; begin a new one.")
            raise DataError(words.format(count=len(prompt), room=self.room))
        return min(settings.limit, self.room - len(prompt))

    def prompt(self, messages: Messages, settings: ChatSettings) -> list[int]:
        """Return the tokens that the answer follows. Raises `DataError`."""
        if settings.asked == "plain":
            text = "".join([settings.system, *(turn["content"] for turn in messages)])
            return [*self.prefix, *self.renderer.beginning(text)]
        system = [{"role": "system", "content": settings.system}] if settings.system else []
        return [*self.prefix, *self.renderer.prompt([*system, *messages])]


class ChatModel(Protocol):
    """A model that is ready to answer; what it says depends on nothing that was asked before."""

    @property
    def name(self) -> str:
        """What it is called in the conversation."""

    @property
    def dialogue(self) -> Dialogue:
        """How it is asked."""

    @property
    def weights(self) -> Mapping[object, int]:
        """Bytes of what it keeps in memory; what two models share has the same key."""

    def answer(
        self,
        messages: Messages,
        settings: ChatSettings | None = None,
        receive: Receive = ignore_token,
        progress: Progress = no_progress,
    ) -> ChatAnswer:
        """Answer a conversation.

        Args:
            messages: `role` and `content` of each turn; the last one is the user's.
            receive: gets each token as soon as it is chosen.
            progress: called after each token; what it raises ends the answer.

        Raises:
            DataError: the conversation cannot be shown to the model.
            Cancelled: through `progress`.
        """

    def probabilities(self, messages: Messages, tokens: Sequence[int], settings: ChatSettings) -> list[float]:
        """Return the probability of each token of an answer, when the model is led through it."""

    def close(self) -> None:
        """Give its memory back."""


@dataclass(frozen=True, kw_only=True)
class OpenChat:
    """The models of one conversation, in memory.

    Attributes:
        note: a sentence on what stands for the run's result; "" where it is the result itself.
    """

    models: Mapping[str, ChatModel]
    note: str = ""

    @classmethod
    def of(cls, models: Sequence[ChatModel], **more: Any) -> OpenChat:
        return cls(models={model.name: model for model in models}, **more)

    @property
    def bytes(self) -> int:
        """What the weights take in memory."""
        return sum({key: size for model in self.models.values() for key, size in model.weights.items()}.values())

    @property
    def copies(self) -> int:
        """How many models are in memory: one, where trained parts are switched on and off."""
        keys = [model.weights.keys() for model in self.models.values()]
        return 1 if keys[0] & keys[-1] else len(keys)

    @cached_property
    def vocabulary_shared(self) -> bool:
        """Whether a token means the same to all of them. To compare 150,000 tokens takes 0.2 s, so it is done once."""
        first, *others = (model.dialogue.tokenizer.get_vocab().items() for model in self.models.values())
        return all(first <= other or other <= first for other in others)  # an export may have tokens of its own

    def close(self) -> None:
        """Give the memory back."""
        for model in self.models.values():
            model.close()


class Answering:
    """An answer that is being made: chooses its tokens, and hands each on as soon as it is there."""

    def __init__(
        self, dialogue: Dialogue, settings: ChatSettings, receive: Receive, progress: Progress, name: str
    ) -> None:
        self._dialogue, self._settings, self._name = dialogue, settings, name
        self._receive, self._progress = receive, progress
        self._random = random.Random(settings.seed)  # the same draws for every model, on every device
        self._pieces = TextPieces(dialogue.tokenizer)
        self._tokens: list[Token] = []
        self._started = time.perf_counter()
        self._first = 0.0

    def choose(self, logits: NDArray[np.float32]) -> int:
        """Choose the next token by its logits, (vocabulary,), and note it."""
        token = choose(logits, self._settings, self.draw())
        self.add(token, probability(logits, token))
        return token

    def add(self, token: int, probability: float) -> None:
        """Note a token that was chosen. Raises what `progress` raises."""
        if not self._tokens:
            self._first = time.perf_counter() - self._started
        self._tokens.append(Token(id=token, text=self._pieces.add(token), probability=probability))
        self._receive(self._tokens[-1])
        self._progress("asking", len(self._tokens), self._settings.limit)

    def draw(self) -> float:
        """Return the random number for the next token, where another process chooses it."""
        return self._random.random()

    def finish(self) -> ChatAnswer:
        """Return the answer; what is left of a character that was never completed goes to the last token."""
        if rest := self._pieces.rest():
            self._tokens[-1] = replace(self._tokens[-1], text=self._tokens[-1].text + rest)
        return ChatAnswer(
            model=self._name,
            text="".join(token.text for token in self._tokens),
            tokens=tuple(self._tokens),
            ended=self._tokens[-1].id in self._dialogue.ends,
            first_token_seconds=self._first,
            seconds=time.perf_counter() - self._started,
        )


class TextPieces:
    """Turns tokens into text as they come, never a part of a character.

    A token is decoded together with the ones before it, because many tokenizers put a space in front of a word only
    where something stands before it. A character of several tokens ends in U+FFFD until it is complete.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = self._told = 0  # decoding begins at the first; text of tokens before the second was told

    def add(self, token: int) -> str:
        """Return the text that this token completes, "" where a character is still open."""
        self._ids.append(token)
        text = self._new_text()
        if not text or text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        self._start, self._told = self._told, len(self._ids)
        return text

    def rest(self) -> str:
        """Return what was held back."""
        text = self._new_text()
        self._told = len(self._ids)
        return text

    def _new_text(self) -> str:
        before = self._decode(self._ids[self._start : self._told])
        return self._decode(self._ids[self._start :])[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
