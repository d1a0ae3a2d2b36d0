"""Render and tokenise examples. Training, validation, preview, certificate and chat all use this one path."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from studio.config.data import MAX_LENGTH, SYSTEM_TURNS, TRAIN_ON, SystemTurns, TrainOn
from studio.engine.data.control_tokens import ControlTokens
from studio.engine.data.encoder import THOUGHT_LEFT_OUT, Encoder, Encoding, Rendered, all_but
from studio.engine.data.formats.base import Example, Message, Piece
from studio.engine.data.formats.values import layout
from studio.engine.data.prompt_template import fill_template
from studio.engine.data.report import RowSkipped
from studio.engine.data.template import ChatTemplate
from studio.engine.models.template import default_template
from studio.errors import DataError, ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VERSION = 5
"""Part of the fingerprint. Raise it when the same row gives another example, or the same example other tokens."""
_TELLS_THE_DATE = "strftime_now"


class Renderer:
    """Renders and encodes examples for one model.

    A Chat model sees conversations through its own template. Everything else is plain text: what the tokenizer
    itself puts first (such as BOS), the pieces, and the end token after each piece that is learnt.

    Args:
        tokenizer: the model's own; it must be a fast one.
        kind: "base" or "chat".
        train_on: "completions" supervises answers, "all" everything.
        max_length: tokens at which rows are cut.
        prompt_template: how question and answer stand in plain text (prompt_template.py); "": as the format has them.
        system_turns: where system turns stand in a chat template (template.py).

    Raises:
        ModelError: the tokenizer is not a fast one, or a Chat model has no template.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        kind: Literal["base", "chat"],
        train_on: TrainOn = TRAIN_ON,
        max_length: int = MAX_LENGTH,
        prompt_template: str = "",
        system_turns: SystemTurns = SYSTEM_TURNS,
    ) -> None:
        if not tokenizer.is_fast:
            raise ModelError(tr("The model has no tokenizer.json; choose a model that has one."))
        self._tokenizer = tokenizer
        self.max_length = max_length
        self._everything = train_on == "all"
        self._control = ControlTokens(tokenizer)
        self._encoder = Encoder(tokenizer, self._control, max_length)
        self._template = ChatTemplate(tokenizer, self._control, system_turns) if kind == "chat" else None
        self._prompt_template = prompt_template if kind == "base" else ""
        self._settings = {
            "version": _VERSION,
            "kind": kind,
            "train_on": train_on,
            "max_length": max_length,
            "prompt_template": self._prompt_template,
            "system_turns": system_turns,
        }

    def __reduce__(self) -> tuple[type[Renderer], tuple[Any, ...]]:
        """Another process makes its own from the same arguments."""
        names = ("kind", "train_on", "max_length", "prompt_template", "system_turns")
        return Renderer, (self._tokenizer, *(self._settings[name] for name in names))

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides how an example is rendered, as hexadecimal digits."""
        backend = self._tokenizer.backend_tokenizer
        backend.no_truncation()  # left behind by earlier calls; every call sets its own
        backend.no_padding()
        template = default_template(self._tokenizer) or ""
        names = {"template": template, "special": self._tokenizer.special_tokens_map}
        if _TELLS_THE_DATE in template:  # what was rendered yesterday holds another date
            names["date"] = _today()
        text = json.dumps(self._settings | names, sort_keys=True, default=str) + backend.to_str()
        return hashlib.sha256(text.encode()).hexdigest()

    def encode(self, example: Example) -> tuple[Encoding, ...]:
        """Return the row of an example; several when the template forces each answer to be a row of its own.

        Raises:
            RowSkipped: no token of it would be learnt.
            ModelError: the model's template is not valid, or does not come to an end.
        """
        outcome = self.encode_all([example])[0]
        if isinstance(outcome, RowSkipped):
            raise outcome
        return outcome

    def encode_all(self, examples: Sequence[Example]) -> list[tuple[Encoding, ...] | RowSkipped]:
        """Return for each example its rows, or why it is skipped. Faster than one by one."""
        rendered = self._render(examples)
        texts = [text for texts in rendered if not isinstance(texts, RowSkipped) for text in texts]
        encoded = iter(self._encoder.encode(texts))
        return [
            texts if isinstance(texts, RowSkipped) else _together([next(encoded) for _ in texts]) for texts in rendered
        ]

    def prompt(self, messages: Sequence[Message | Mapping[str, str]]) -> list[int]:
        """Return the tokens of a conversation, ending where the answer begins. Raises `DataError`."""
        turns = [m if isinstance(m, Message) else Message(m["role"], m["content"]) for m in messages]
        try:
            rendered = self._template.ask(turns) if self._template else self._plain(self._asked(turns))
            return self._encoder.ids(rendered)
        except RowSkipped as reason:
            raise DataError(
                tr("The conversation cannot be shown to the model: {reason}.").format(reason=reason.remark.text())
            ) from reason

    def beginning(self, text: str) -> list[int]:
        """Return the tokens of a plain text that the model is to go on with, without template and headings."""
        return self._encoder.ids(Rendered(text, (), opened=True))

    def _render(self, examples: Sequence[Example]) -> list[list[Rendered] | RowSkipped]:
        conversations = [one.messages for one in examples if self._template and one.messages]
        in_template = iter(self._template.render(conversations, self._everything) if self._template else [])
        rendered: list[list[Rendered] | RowSkipped] = []
        for example in examples:
            if self._template and example.messages:
                rendered.append(next(in_template))
                continue
            try:
                notes = (THOUGHT_LEFT_OUT,) if any(message.thought for message in example.messages) else ()
                rendered.append([replace(self._plain(self._pieces(example)), notes=notes)])
            except RowSkipped as reason:
                rendered.append(reason)
        return rendered

    def _pieces(self, example: Example) -> tuple[Piece, ...]:
        if self._prompt_template and example.messages:
            return fill_template(self._prompt_template, example.messages)
        return example.pieces

    def _asked(self, turns: Sequence[Message]) -> tuple[Piece, ...]:
        if self._prompt_template:
            return fill_template(self._prompt_template, turns, ask=True)
        return layout(turns, ask=True)

    def _plain(self, pieces: Sequence[Piece]) -> Rendered:
        end = self._tokenizer.eos_token or ""
        text = ""
        spans: list[tuple[int, int]] = []
        unlearnt: list[tuple[int, int]] = []
        for piece in pieces:
            begin = len(text)
            text += self._control.hide(piece.text, in_answer=True)
            if piece.learnt or piece.ended:
                text += end
                (spans if piece.learnt else unlearnt).append((begin, len(text)))
        learnt = all_but(unlearnt, len(text)) if self._everything else tuple(spans)
        guarded = self._control.reveal(text) != text
        # Text without a question may be cut into rows: nothing that a later row needs is missing from it.
        return Rendered(text, learnt, opened=True, guarded=guarded, divisible=len(pieces) == 1)


def _today() -> str:
    return datetime.now().astimezone().date().isoformat()


def _together(parts: list[tuple[Encoding, ...] | RowSkipped]) -> tuple[Encoding, ...] | RowSkipped:
    """Return the rows of the parts of one example that can be used, or why none can."""
    rows = tuple(row for part in parts if not isinstance(part, RowSkipped) for row in part)
    return rows or next(part for part in parts if isinstance(part, RowSkipped))
