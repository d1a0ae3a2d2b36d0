"""A GGUF export that answers through llama.cpp, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.engine.child import Child, ChildFailed
from studio.engine.control import Progress, no_progress
from studio.engine.export import TARGETS
from studio.engine.export.certificate import read_certificate
from studio.engine.export.gguf import llama_cpp
from studio.engine.export.gguf.convert import find_file
from studio.engine.export.source import Source
from studio.engine.inference.answers import BESIDE, ChatAnswer, ChatSettings
from studio.engine.inference.dialogue import Answering, Dialogue, Messages, Receive, ignore_token
from studio.engine.inference.talk import talk
from studio.errors import ExportError
from studio.i18n import tr

ROOM = 4096
"""Tokens of a conversation, where the model has room for as many: keys and values take memory from the beginning on."""


@dataclass(frozen=True, kw_only=True)
class GgufModel:
    """A file that llama.cpp has open."""

    dialogue: Dialogue
    file: Path
    child: Child
    name: str = BESIDE

    @property
    def weights(self) -> dict[object, int]:
        return {self.file: self.file.stat().st_size}

    def answer(
        self,
        messages: Messages,
        settings: ChatSettings | None = None,
        receive: Receive = ignore_token,
        progress: Progress = no_progress,
    ) -> ChatAnswer:
        settings = settings or ChatSettings()
        row = self.dialogue.prompt(messages, settings)
        answering = Answering(self.dialogue, settings, receive, progress, self.name)
        for _ in range(self.dialogue.longest(row, settings)):
            token, share = self._ask({"row": row, "settings": settings.model_dump(), "drawn": answering.draw()})
            answering.add(token, share)
            row.append(token)
            if token in self.dialogue.ends:
                break
        return answering.finish()

    def probabilities(self, messages: Messages, tokens: Sequence[int], settings: ChatSettings) -> list[float]:
        row = [*self.dialogue.prompt(messages, settings), *tokens]
        found: list[float] = self._ask({"row": row, "rated": len(tokens)})
        return found

    def close(self) -> None:
        self.child.close()

    def _ask(self, job: dict[str, Any], progress: Progress = no_progress) -> Any:
        try:
            return self.child.ask({"path": str(self.file), "room": self.dialogue.room} | job, progress)
        except ChildFailed as error:
            words = tr("llama.cpp ended unexpectedly: {reason}")
            raise ExportError(words.format(reason=str(error) or error.code)) from error


def open_gguf(source: Source, dialogue: Dialogue, folder: Path, progress: Progress) -> GgufModel:
    """Open the GGUF file of an export in llama.cpp.

    Args:
        dialogue: how the run is asked; what the export puts in front of every row is added to it.

    Raises:
        ExportError: llama.cpp is not there, or does not open it.
        Cancelled: through `progress`.
    """
    if reason := llama_cpp.why_not():
        raise ExportError(reason)
    prefix = TARGETS.get(read_certificate(folder).target).prefix(source, dialogue.tokenizer)
    room = min(ROOM, source.info.context_length or ROOM)
    dialogue = replace(dialogue, tokenizer=prefix.tokenizer, prefix=prefix.ids, room=room)
    model = GgufModel(dialogue=dialogue, file=find_file(folder), child=Child(talk))
    try:
        model._ask({"row": [dialogue.ends[0] if dialogue.ends else 0] * 2, "rated": 1}, progress)
    except BaseException:
        model.close()
        raise
    return model
