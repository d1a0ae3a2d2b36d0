"""The model's own chat template, and where in what it renders the answers stand.

What is taught is what the model will be asked at inference, and the answer after it. Most templates render the two
together just so. Others render a conversation otherwise once the answer is there: they leave out a system text that
they put before the last question, or cut the thought out of the answer. Then the row is put together here, from what
the template asks with, the answer as the row has it, and what the template writes after an answer.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from studio.config.data import SYSTEM_TURNS, SystemTurns
from studio.engine.data.control_tokens import PROBE, THOUGHTS, ControlTokens
from studio.engine.data.encoder import THOUGHT_LEFT_OUT, Rendered, all_but
from studio.engine.data.formats.base import Message
from studio.engine.data.report import Remark, RowSkipped
from studio.engine.models.template import Job, Refused, Turn, Wanted, default_template, render, template_tokens
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LEFT_OUT = {"system": Remark("system_dropped"), "user": Remark("question_dropped")}
_THOUGHT_FIELDS = ("reasoning_content", "thinking", "reasoning")
_SYNTAX = ("TemplateSyntaxError", "TemplateAssertionError")

_Plan: TypeAlias = Generator[Job, list[str], list[Rendered]]


@dataclass(frozen=True, slots=True)
class _Answer:
    """A conversation up to an answer, as it is taught.

    Attributes:
        text: what the model is asked, and the answer.
        asked: where in `text` the answer begins, in characters.
        begin: where the part to learn begins; an empty thought before it is not learnt.
        end: where it ends.
        learnt: False for an answer that is read and not learnt.
        notes: remarks on the row.
    """

    text: str
    asked: int
    begin: int
    end: int
    learnt: bool
    notes: tuple[Remark, ...]


class ChatTemplate:
    """Renders conversations, control tokens in their text hidden.

    Args:
        system_turns: "template" leaves system turns to the template, "question" puts them before the next question.

    Raises:
        ModelError: the tokenizer has no template.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, control: ControlTokens, system_turns: SystemTurns = SYSTEM_TURNS
    ) -> None:
        self._control = control
        self._moves_system = system_turns == "question"
        self._end = tokenizer.eos_token or ""
        self._tokens = template_tokens(tokenizer)
        template = default_template(tokenizer)
        if not template:
            raise ModelError(
                tr("The model has no chat template; train it as a Base model, or choose one that has a template.")
            )
        self._template = template
        self._places_thoughts = any(re.search(rf"\b{field}\b", template) for field in _THOUGHT_FIELDS)
        self._thoughts = [pair for pair in THOUGHTS if any(tag in template for tag in pair)]

    def render(self, conversations: Sequence[Sequence[Message]], everything: bool) -> list[list[Rendered] | RowSkipped]:
        """Return each conversation, with its answers and their end-of-turn tokens as spans, or why it is skipped.

        Where the template does not render earlier turns as it rendered them when they were the last, there is one
        result for each answer, as the model will see it.

        Args:
            everything: make one span of the whole text.

        Raises:
            ModelError: the template is not valid, does not come to an end or takes too much memory.
        """
        if self._moves_system:
            return self._render([system_in_questions(messages) for messages in conversations], everything)
        outcomes = self._render(conversations, everything)
        refused = [
            place
            for place, outcome in enumerate(outcomes)
            if isinstance(outcome, RowSkipped) and any(message.role == "system" for message in conversations[place])
        ]
        without = self._render([system_in_questions(conversations[place]) for place in refused], everything)
        for place, outcome in zip(refused, without, strict=True):
            if not isinstance(outcome, RowSkipped):
                outcomes[place] = RowSkipped(Remark("system_refused"))
        return outcomes

    def _render(
        self, conversations: Sequence[Sequence[Message]], everything: bool
    ) -> list[list[Rendered] | RowSkipped]:
        outcomes: list[list[Rendered] | RowSkipped] = [[] for _ in conversations]
        plans = [self._plan(messages, everything) for messages in conversations]
        given: dict[int, list[str] | None] = dict.fromkeys(range(len(plans)))
        # All conversations are rendered in one call, and a few of them once more.
        while given:
            jobs: dict[int, Job] = {}
            for place, texts in given.items():
                try:
                    jobs[place] = next(plans[place]) if texts is None else plans[place].send(texts)
                except StopIteration as done:
                    outcomes[place] = done.value
                except RowSkipped as reason:
                    outcomes[place] = reason
            given = {}
            answers = render(self._template, self._tokens, list(jobs.values())) if jobs else []
            for place, answer in zip(jobs, answers, strict=True):
                if refused := next((text for text in answer if isinstance(text, Refused)), None):
                    outcomes[place] = _skip(refused)
                else:
                    given[place] = [text for text in answer if isinstance(text, str)]
        return outcomes

    def ask(self, messages: Sequence[Message]) -> Rendered:
        """Return the conversation up to where the next answer begins. Raises `RowSkipped` and `ModelError`."""
        messages = system_in_questions(messages) if self._moves_system else messages
        hidden = self._hidden(messages)
        job = _turns(hidden), [Wanted(len(hidden), ask=True)]
        text = render(self._template, self._tokens, [job])[0][0]
        if isinstance(text, Refused):
            raise _skip(text)
        return Rendered(text, (), guarded=hidden != list(messages))

    def _hidden(self, messages: Sequence[Message]) -> list[Message]:
        hide = self._control.hide
        return [
            dataclasses.replace(m, content=hide(m.content, m.role == "assistant"), thought=hide(m.thought, True))
            for m in messages
        ]

    def _plan(self, messages: Sequence[Message], everything: bool) -> _Plan:
        """Yield the renderings that are needed, receive them, and return the rows of the conversation."""
        hidden = self._hidden(messages)
        guarded = hidden != list(messages)
        hidden, notes = self._with_thoughts(hidden)
        places = [place for place, message in enumerate(hidden) if message.role == "assistant"]
        asking = [place for place in places if place]
        *texts, whole = yield (
            _turns(hidden),
            [
                *(Wanted(place, ask=True) for place in asking),
                *(Wanted(place + 1) for place in places if place < len(hidden) - 1),
                Wanted(len(hidden)),
            ],
        )
        asked = dict(zip(asking, texts, strict=False))
        rendered = [*texts[len(asking) :], whole]
        answers = []
        for place, text in zip(places, rendered, strict=False):  # the whole may end with a question
            answer = yield from self._answer(hidden, place, text, asked.get(place, ""))
            answers.append(answer)
        if answers and places[-1] == len(hidden) - 1:
            whole = answers[-1].text
        notes = _once([*notes, *_left_out(hidden, answers), *(note for answer in answers for note in answer.notes)])
        learnt = [answer for answer in answers if answer.learnt]
        if all(whole.startswith(answer.text) for answer in answers):
            return [self._row(whole, _spans(answers, everything, len(whole)), guarded, notes)]
        notes = (*notes, Remark("rewritten_turns"))
        rows = [self._row(answer.text, _spans([answer], False, 0), guarded, notes) for answer in learnt]
        if everything and learnt == answers:  # what precedes the last answer is learnt once
            last = answers[-1]
            rows[-1] = self._row(last.text, _spans([last], True, len(last.text)), guarded, notes)
        return rows

    def _with_thoughts(self, hidden: list[Message]) -> tuple[list[Message], tuple[Remark, ...]]:
        """Put each thought where the template has a place for it: beside the answer or, between its tags, before it."""
        if self._places_thoughts or not any(message.thought for message in hidden):
            return hidden, ()
        if self._thoughts:
            return [dataclasses.replace(m, content=self._spoken(m), thought="") for m in hidden], ()
        return [dataclasses.replace(m, thought="") for m in hidden], (THOUGHT_LEFT_OUT,)

    def _spoken(self, message: Message) -> str:
        """Return what the model says: the thought between its tags, and the answer."""
        if not message.thought:
            return message.content
        opening, closing = self._thoughts[0] if self._thoughts else THOUGHTS[0]
        return f"{opening}\n{message.thought}\n{closing}\n\n{message.content}"

    def _row(self, text: str, spans: Spans, guarded: bool, notes: tuple[Remark, ...]) -> Rendered:
        """Return a row, with the end token where the template writes none: who never sees it never learns to stop."""
        if not self._control.end(text.rstrip()):
            spans = tuple((begin, end + len(self._end) if end == len(text) else end) for begin, end in spans)
            text += self._end
        return Rendered(text, spans, guarded=guarded, notes=notes)

    def _answer(
        self, hidden: Sequence[Message], place: int, text: str, asked: str
    ) -> Generator[Job, list[str], _Answer]:
        """Return the conversation up to the answer at `place`.

        Args:
            text: this, as the template renders it.
            asked: what precedes the answer, as the template asks for one; "" for an answer that is the first turn.
        """
        message = hidden[place]
        opened = self._opened(asked)
        # A thought that the template has opened already is not opened again by the answer.
        expected = _without_opening(message.content, opened, asked) if opened else message.content
        if asked and text.startswith(asked) and _keeps(text[len(asked) :], message.thought, expected):
            return self._settled(text, len(asked), opened, message.learnt)
        probed = (yield _turns(hidden[:place]), [Wanted(place, answer=PROBE)])[0]
        before, found, after = probed.partition(PROBE)
        if not found:
            raise RowSkipped(Remark("answer_not_found"))
        said = self._spoken(message)
        notes: tuple[Remark, ...] = ()
        if text.startswith(before) and text.endswith(after) and len(before) + len(after) <= len(text):
            rendered = text[len(before) : len(text) - len(after)]
            if _keeps(rendered, message.thought, message.content):
                said = rendered
            else:
                notes = (Remark("cut_from_answer"),)
        if not asked:
            return self._settled(before + said + after, len(before), None, message.learnt, notes)
        if opened:
            said = _without_opening(said, opened, asked)
            if opened[1] not in said:
                said = f"\n{opened[1]}\n\n{said}"
        else:
            # Space between the header and the answer that is not asked with belongs to the answer: "[/INST] Yes".
            header = _without_empty_thought(self._thoughts, before)
            said = _space_after(header).removeprefix(_space_after(asked)) + said
        if not opened and not text.startswith(asked):
            notes = (*notes, Remark("asked_otherwise"))
        return self._settled(asked + said + after, len(asked), opened, message.learnt, notes)

    def _settled(
        self,
        text: str,
        asked: int,
        opened: tuple[str, str] | None,
        learnt: bool,
        notes: tuple[Remark, ...] = (),
    ) -> _Answer:
        """Return an answer that begins at `asked`, without an empty thought and the layout behind its end.

        Space after the end-of-turn token is layout that the model is never asked to say, and is left out.
        """
        bare = text.rstrip()
        begin = asked
        closing = re.match(rf"\s*{re.escape(opened[1])}\s*", text[asked:]) if opened else None
        if empty := closing or _empty_thought(self._thoughts, text[asked:]):
            begin += empty.end()
            notes = (*notes, Remark("answer_opens_differently"))
        return _Answer(text, asked, begin, len(bare) if self._control.end(bare) else len(text), learnt, notes)

    def _opened(self, asked: str) -> tuple[str, str] | None:
        """Return the tags of the thought that the template opens when it asks for an answer."""
        bare = asked.rstrip()
        return next((pair for pair in self._thoughts if bare.endswith(pair[0])), None)


def system_in_questions(messages: Sequence[Message]) -> list[Message]:
    """Return a conversation in which each system text stands before the next question; it is one where none follows."""
    turns: list[Message] = []
    system: list[str] = []
    for message in messages:
        if message.role == "system":
            system.append(message.content)
        elif message.role == "user":
            turns.append(Message("user", "\n\n".join([*system, message.content])))
            system = []
        else:
            turns += [Message("user", "\n\n".join(system))] if system else []
            turns.append(message)
            system = []
    return [*turns, Message("user", "\n\n".join(system))] if system else turns


Spans: TypeAlias = tuple[tuple[int, int], ...]


def _spans(answers: Sequence[_Answer], everything: bool, length: int) -> Spans:
    """Return the parts of a text of `length` characters to learn: the answers, or everything but what is not learnt."""
    if everything:
        return all_but([(one.asked, one.begin if one.learnt else one.end) for one in answers], length)
    return tuple((one.begin, one.end) for one in answers if one.learnt)


def _left_out(hidden: Sequence[Message], answers: Sequence[_Answer]) -> list[Remark]:
    """Return remarks on turns before the last answer that the template does not show, other than answers."""
    if not answers:
        return []
    shown = answers[-1].text[: answers[-1].asked]
    last = max(place for place, message in enumerate(hidden) if message.role == "assistant")
    return [_LEFT_OUT[m.role] for m in hidden[:last] if m.role in _LEFT_OUT and not _keeps(shown, m.content)]


def _empty_thought(thoughts: Sequence[tuple[str, str]], text: str) -> re.Match[str] | None:
    """Return the empty thought that a text begins with."""
    matches = (re.match(rf"\s*{re.escape(begin)}\s*{re.escape(end)}\s*", text) for begin, end in thoughts)
    return next(filter(None, matches), None)


def _without_empty_thought(thoughts: Sequence[tuple[str, str]], text: str) -> str:
    """Return a text without the empty thought that it ends with."""
    for begin, end in thoughts:
        text = re.sub(rf"{re.escape(begin)}\s*{re.escape(end)}\s*$", "", text)
    return text


def _turns(messages: Sequence[Message]) -> list[Turn]:
    return [
        {"role": m.role, "content": m.content} | ({"reasoning_content": m.thought} if m.thought else {})
        for m in messages
    ]


def _keeps(text: str, *contents: str) -> bool:
    """Return whether a text has all of `contents`, whatever becomes of white space."""
    if all(content.strip() in text for content in contents):
        return True
    packed = "".join(text.split())
    return all("".join(content.split()) in packed for content in contents)


def _without_opening(content: str, opened: tuple[str, str], asked: str) -> str:
    """Return an answer without the tag that opens its thought."""
    bare = content.lstrip()
    if not bare.startswith(opened[0]):
        return content
    bare = bare.removeprefix(opened[0])
    return bare.lstrip("\n") if asked.endswith("\n") else bare


def _space_after(text: str) -> str:
    return text[len(text.rstrip()) :]


def _once(notes: Sequence[Remark]) -> tuple[Remark, ...]:
    return tuple(dict.fromkeys(notes))


def _skip(refused: Refused) -> RowSkipped:
    """Return why a conversation cannot be used. Raises `ModelError` where the template itself is at fault."""
    if refused.error in _SYNTAX:
        raise ModelError(
            tr("Line {line} of the model's chat template is not valid ({reason}); fetch the model again.").format(
                line=refused.line, reason=refused.words
            )
        )
    if refused.error == "growth":
        return RowSkipped(Remark("endless_template"))
    words = refused.words.strip().rstrip(".")[:200] or refused.error
    return RowSkipped(Remark.of("refused_by_template", error=words))
