"""What a run's model can be asked with one click: the rows that it never saw, and questions that it could answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from studio.config import read_config
from studio.engine.control import Progress, no_progress
from studio.engine.data.examples import open_source
from studio.engine.data.formats.base import Example
from studio.engine.data.hub import local_sources
from studio.engine.data.prepare import prepare_data
from studio.engine.data.readers.open import source_path
from studio.engine.data.split import sample
from studio.engine.models.find import resolve_model
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_tokenizer
from studio.paths import resource
from studio.runs import RunFolder

MOST = 20
_OPENING = 200  # characters of a plain text that stand for its beginning


@dataclass(frozen=True, kw_only=True)
class KnownPrompt:
    """A prompt, and what is known of its answer.

    Attributes:
        answer: the row's own answer, or the accepted spellings of a question's.
        system: the row's system prompt.
    """

    origin: Literal["held_out", "retention"]
    prompt: str
    answer: str
    system: str = ""


def retention_questions() -> tuple[KnownPrompt, ...]:
    """Return the questions that ship with the app."""
    lines = resource("retention", "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line]
    return tuple(
        KnownPrompt(origin="retention", prompt=row["question"], answer=" / ".join(row["answers"])) for row in rows
    )


def held_out_prompts(folder: RunFolder, progress: Progress = no_progress) -> tuple[KnownPrompt, ...]:
    """Return up to `MOST` of the rows that a run held out for validation: the same ones each time.

    Raises:
        StudioError: the run, its base or its data cannot be read.
        Cancelled: the user cancelled.
    """
    config, state = read_config(folder.config), folder.read_state().get("model", {})
    info = inspect_model(resolve_model(state.get("path", config.model.path), progress), progress)
    tokenizer = load_tokenizer(info.path, config.model.chat_template)
    data = prepare_data(config.data, tokenizer, state.get("kind", info.kind), config.training.seed, progress)
    chosen = sample(len(data.validation), MOST, config.training.seed)
    rows = [(row.source, row.number) for row in (data.validation[int(place)] for place in chosen)]
    found = []
    for path, numbers in groupby(sorted(set(rows)), key=lambda row: row[0]):
        wanted = {number for _, number in numbers}
        for source in (file for one in config.data.sources for file in local_sources(one, progress)):
            if str(source_path(source)) == path:
                found += list(_read(open_source(source, progress).examples(), wanted))
                break
    return tuple(found)


def _read(examples: Iterator[tuple[int, Example]], wanted: set[int]) -> Iterator[KnownPrompt]:
    """Yield the prompts of the rows with these numbers; the last of them ends the reading."""
    for number, example in examples:
        if number in wanted:
            yield _known(example)
        if number >= max(wanted):
            return


def _known(example: Example) -> KnownPrompt:
    """A conversation is asked with its first question; a plain text with its beginning."""
    if not example.messages:
        text = "".join(piece.text for piece in example.pieces)
        opening = text[:_OPENING].rsplit(" ", 1)[0] if len(text) > _OPENING else text[: len(text) // 2]
        return KnownPrompt(origin="held_out", prompt=opening, answer=text[len(opening) :])
    return KnownPrompt(
        origin="held_out",
        prompt=_first(example, "user"),
        answer=_first(example, "assistant"),
        system=_first(example, "system"),
    )


def _first(example: Example, role: str) -> str:
    return next((turn.content for turn in example.messages if turn.role == role), "")
