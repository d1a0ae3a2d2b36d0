"""The Modelfile that tells Ollama what to do with a GGUF file: how to write a conversation, and where to stop.

Ollama does not run the chat template in the file. Without a TEMPLATE it looks for a similar one among those that it
knows, which is a guess. So the template is translated into Ollama's language here, from what it writes: everything
between the turns of a conversation is read off rendered ones. Where a translation does not write the same as the chat
template, for every conversation tried, there is none. Stops are the tokens that end an answer in training, and nothing
that merely stands in the template: such stops cut answers short.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.engine.export.carry import base_generation_config, generation_config, stop_ids
from studio.engine.export.prefix import CONVERSATIONS, Conversation, Prefix, render
from studio.engine.export.source import Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SYSTEM, _USER, _ASSISTANT, _AGAIN = "Qsystem0Q", "Quser1Q", "Qanswer2Q", "Quser3Q"
# Settings of generation_config.json that Ollama knows, by its own names.
_PARAMETERS = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "repetition_penalty": "repeat_penalty"}
PLAIN = "{{ .Prompt }}"


@dataclass(frozen=True, kw_only=True)
class Template:
    """What a chat template writes around the turns of a conversation.

    Attributes:
        opening: in front of the first question.
        system: in front of a system prompt and behind it, up to the first question; None where it takes none.
        asked: behind a question, up to the answer.
        answered: behind an answer, up to the next question.
    """

    opening: str
    system: tuple[str, str] | None
    asked: str
    answered: str

    def write(self, conversation: Conversation) -> str | None:
        """Return a conversation that ends with a question, or None where this has no words for it."""
        text = self.opening
        for turn in conversation:
            if turn["role"] == "system":
                if self.system is None:
                    return None
                text = f"{self.system[0]}{turn['content']}{self.system[1]}"
            else:
                text += turn["content"] + (self.asked if turn["role"] == "user" else self.answered)
        return text

    def in_go(self) -> str:
        """Return the template in Ollama's language, Go's text/template."""
        opening = self.opening
        if self.system is not None:
            before, behind = self.system
            opening = f"{{{{ if .System }}}}{before}{{{{ .System }}}}{behind}{{{{ else }}}}{opening}{{{{ end }}}}"
        return (
            opening + '{{ range $i, $turn := .Messages }}{{ if eq $turn.Role "user" }}{{ $turn.Content }}' + self.asked
            # An answer that comes last is gone on with, so nothing stands behind it.
            + '{{ else if eq $turn.Role "assistant" }}{{ $turn.Content }}'
            + "{{ if ne (len (slice $.Messages $i)) 1 }}" + self.answered + "{{ end }}{{ end }}{{ end }}"
        )  # fmt: skip


def translate(tokenizer: PreTrainedTokenizerBase, *, drop_bos: bool) -> Template | None:
    """Return what a tokenizer's chat template writes, or None where no such `Template` writes the same.

    Args:
        drop_bos: whether BOS is left out of the beginning, because Ollama puts it there itself.
    """
    bos = str(tokenizer.bos_token) if drop_bos and tokenizer.bos_token else ""

    def written(conversation: Conversation) -> str | None:
        ids = render(tokenizer, conversation, True)
        if ids is None:
            return None
        text = str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        return text.removeprefix(bos)

    turns = [("user", _USER), ("assistant", _ASSISTANT), ("user", _AGAIN)]
    several = written([{"role": role, "content": text} for role, text in turns])
    if several is None:
        return None
    parts = _cut(several, _USER, _ASSISTANT, _AGAIN)
    if parts is None:
        return None
    opening, asked, answered, last = parts
    with_system = written([{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}])
    around = _cut(with_system, _SYSTEM, _USER) if with_system else None
    found = Template(opening=opening, system=(around[0], around[1]) if around else None, asked=asked, answered=answered)
    pieces = (opening, asked, answered, *(found.system or ()))
    if last != asked or any("{{" in piece or "}}" in piece or '"""' in piece for piece in pieces):
        return None
    questions = [list(conversation) for conversation in CONVERSATIONS if conversation[-1]["role"] == "user"]
    longer = [*CONVERSATIONS[2], CONVERSATIONS[0][0], CONVERSATIONS[2][-1], CONVERSATIONS[0][0]]
    for conversation in (*questions, longer):
        if written(conversation) != found.write(conversation):
            return None
    return found


def _cut(text: str, *marks: str) -> list[str] | None:
    """Return what stands around the marks, or None unless each stands there once, in this order."""
    if any(text.count(mark) != 1 for mark in marks):
        return None
    parts = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found:
            return None
        parts.append(before)
    return [*parts, text]


@dataclass(frozen=True, kw_only=True)
class Modelfile:
    """What Ollama is told. `template` is in its language; None leaves it to guess."""

    file: str
    template: str | None
    stops: tuple[str, ...]
    parameters: dict[str, Any]

    def text(self) -> str:
        """Return the Modelfile."""
        lines = [f"FROM ./{self.file}"]
        if self.template is not None:
            lines.append(f'TEMPLATE """{self.template}"""')
        lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in self.stops]
        lines += [f"PARAMETER {name} {value}" for name, value in self.parameters.items()]
        return "\n".join(lines) + "\n"


def make_modelfile(
    source: Source, tokenizer: PreTrainedTokenizerBase, prefix: Prefix, file: str, *, adds_bos: bool
) -> Modelfile:
    """Return the Modelfile of an export; `adds_bos` says that the file asks for BOS in front of a text."""
    own = prefix.tokenizer
    template: str | None = PLAIN
    if source.kind == "chat":
        found = translate(own, drop_bos=adds_bos)
        template = found.in_go() if found else None
    config = base_generation_config(source)
    if not config.get("do_sample"):
        config = {}
    return Modelfile(
        file=file,
        template=template,
        stops=tuple(_texts(own, stop_ids(generation_config(source, tokenizer, prefix)))),
        # Numbers alone: a stranger's text could end the line and begin another instruction.
        parameters={new: config[old] for old, new in _PARAMETERS.items() if type(config.get(old)) in (int, float)},
    )


def _texts(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    return [str(tokenizer.decode([number], skip_special_tokens=False)) for number in ids]
