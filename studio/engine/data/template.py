"""The model's own chat template, rendered with limits, and where in the result the answers stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from studio.engine.data.control_tokens import PROBE, ControlTokens
from studio.engine.data.encoder import Rendered
from studio.engine.data.formats.base import Message
from studio.engine.data.report import Remark, RowSkipped
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_GROWTH = 1_000_000  # characters that a template may add to a conversation
_FAULTS = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError, MemoryError)


class ChatTemplate:
    """Renders conversations, control tokens in their text hidden.

    Raises:
        ModelError: the tokenizer has no template or, once it is used, one that is not valid.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, control: ControlTokens) -> None:
        self._tokenizer = tokenizer
        self._control = control
        self._end = tokenizer.eos_token or ""
        if not tokenizer.chat_template:
            raise ModelError(
                tr("The model has no chat template; train it as a Base model, or choose one that has a template.")
            )

    def render(self, messages: Sequence[Message], everything: bool) -> list[Rendered]:
        """Return the conversation, with its answers and their end-of-turn tokens as spans.

        The spans come from prefix difference: an answer is what the rendering up to and including it has more than
        the rendering of what precedes it, asked for an answer. Where the template does not render earlier turns as
        it rendered them when they were the last, there is one result for each answer, as the model will see it.

        Args:
            everything: make one span of the whole text.

        Raises:
            RowSkipped: the template refuses the conversation.
        """
        hidden = self._hidden(messages)
        guarded = hidden != list(messages)
        whole = self._ended(self._text(hidden))
        if everything:
            return [Rendered(whole, ((0, len(whole)),), guarded=guarded)]
        places = [place for place, message in enumerate(hidden) if message.role == "assistant"]
        texts = [whole if place == len(hidden) - 1 else self._text(hidden[: place + 1]) for place in places]
        spans = [self._span(hidden, place, text) for place, text in zip(places, texts, strict=True)]
        notes = (Remark("answer_opens_differently"),) if any(differs for _, differs in spans) else ()
        if all(whole.startswith(text) for text in texts):
            return [Rendered(whole, tuple(span for span, _ in spans), guarded=guarded, notes=notes)]
        notes = (*notes, Remark("rewritten_turns"))
        rows = []
        for text, ((begin, end), _) in zip(texts, spans, strict=True):
            ended = self._ended(text)
            span = (begin, end + len(ended) - len(text))
            rows.append(Rendered(ended, (span,), guarded=guarded, notes=notes))
        return rows

    def ask(self, messages: Sequence[Message]) -> Rendered:
        """Return the conversation up to where the next answer begins. Raises `RowSkipped`."""
        hidden = self._hidden(messages)
        return Rendered(self._text(hidden, ask=True), (), guarded=hidden != list(messages))

    def _hidden(self, messages: Sequence[Message]) -> list[Message]:
        hide = self._control.hide
        return [Message(m.role, hide(m.content, in_answer=m.role == "assistant")) for m in messages]

    def _span(self, hidden: list[Message], place: int, text: str) -> tuple[tuple[int, int], bool]:
        """Return where an answer begins and ends, and whether the template asks for answers in another way.

        Space after the end-of-turn token is layout that the model is never asked to say, and is left out.
        """
        asked = self._text(hidden[:place], ask=True) if place else ""
        agrees = bool(asked) and len(asked) < len(text) and text.startswith(asked)
        begin = len(asked) if agrees else self._content_start(hidden[:place], text)
        bare = text.rstrip()
        return (begin, len(bare) if self._control.end(bare) else len(text)), bool(asked) and not agrees

    def _content_start(self, before: list[Message], text: str) -> int:
        probed = self._text([*before, Message("assistant", PROBE)])
        place = probed.find(PROBE)
        if place < 0 or probed[:place] != text[:place]:
            raise RowSkipped(Remark("answer_not_found"))
        return place

    def _ended(self, text: str) -> str:
        """Return text with the end token where the template writes none: a model that never sees it never stops."""
        return text if self._control.end(text.rstrip()) else text + self._end

    def _text(self, messages: Sequence[Message], ask: bool = False) -> str:
        from jinja2 import TemplateError, TemplateSyntaxError

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text = str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask))
        except TemplateSyntaxError as error:
            raise ModelError(
                tr("Line {line} of the model's chat template is not valid ({reason}); fetch the model again.").format(
                    line=error.lineno, reason=error.message
                )
            ) from error
        except (TemplateError, *_FAULTS) as error:
            words = str(error).strip().rstrip(".")[:200] or type(error).__name__
            raise RowSkipped(Remark.of("refused_by_template", error=words)) from error
        if len(text) > sum(len(message.content) for message in messages) * 2 + _GROWTH:
            raise RowSkipped(Remark("endless_template"))
        return text
