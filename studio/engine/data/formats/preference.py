"""preference: data for DPO, of which the chosen answers can be learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format, Message, Piece
from studio.engine.data.formats.companions import COMPANIONS, Companions
from studio.engine.data.formats.marks import is_filled
from studio.engine.data.formats.prompt_completion import continuation, is_turns, only_read
from studio.engine.data.formats.turns import transcript, turns
from studio.engine.data.formats.values import conversation
from studio.engine.data.report import Remark
from studio.i18n import gettext_noop

_ANSWER = "\n\nAssistant:"


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the question and the chosen answer."""
    chosen = row.get(columns["chosen"])
    if not is_filled(chosen) and is_filled(row.get(columns.get("completion", ""))):
        return continuation(row, columns, "completion")
    if isinstance(chosen, list) and all(isinstance(text, str) for text in chosen):
        row = {**row, columns["chosen"]: chosen[0] if chosen else None}  # a ranking, the best first
    example = _transcript(row, columns) or continuation(row, columns, "chosen", _before(row, columns))
    notes = [Remark("preference_data")]
    if chosen == row.get(columns.get("rejected", "")):
        notes.append(Remark("tied_answers"))
    return replace(example, notes=(*example.notes, *notes))


def _transcript(row: Mapping[str, Any], columns: Columns) -> Example | None:
    """Return the example of a whole conversation in one text, as HH-RLHF has it; None for another chosen answer."""
    chosen = row.get(columns["chosen"])
    spoken = transcript(chosen) if isinstance(chosen, str) else ()
    if not isinstance(chosen, str) or not spoken:
        return None
    example = conversation(Companions.of(row, columns).around((*only_read(spoken[:-1]), *spoken[-1:])))
    begin = chosen.rindex(_ANSWER) + len(_ANSWER)
    # A Base model reads the text as it stands.
    return replace(example, pieces=(Piece(chosen[:begin], learnt=False), Piece(chosen[begin:], learnt=True)))


def _before(row: Mapping[str, Any], columns: Columns) -> tuple[Message, ...]:
    """Return the turns before the answer: a conversation in a column of its own, or what both answers begin with."""
    asked = row.get(columns["prompt"]) if "prompt" in columns else None
    if is_filled(asked):
        return ()
    if "conversation" in columns and is_filled(row.get(columns["conversation"])):
        return turns(row[columns["conversation"]], columns["conversation"])
    pair = [row.get(columns.get(name, name)) for name in ("chosen", "rejected")]
    if not all(is_turns(one) for one in pair):
        return ()
    chosen, rejected = (turns(one, name) for one, name in zip(pair, ("chosen", "rejected"), strict=True))
    shared = next((n for n, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), len(chosen))
    return chosen[: min(shared, len(chosen) - 1)]


FORMAT = Format(
    name="preference",
    title=gettext_noop("Preference pairs"),
    explanation=gettext_noop("Data for DPO: prompt, chosen, rejected. The chosen answer is learnt."),
    order=60,
    fields=(
        Field("chosen", ("chosen_response", "response_chosen", "preferred", "response_j"), points=5),
        Field(
            "rejected",
            ("rejected_response", "response_rejected", "dispreferred", "response_k"),
            required=False,
            points=5,
        ),
        Field("prompt", ("question", "query"), required=False),
        Field("instruction", required=False),
        Field("input", required=False),
    ),
    companions=(
        Field("conversation", ("conversations", "messages"), required=False),
        Field("completion", ("response", "answer", "output"), required=False),
        Field("question", required=False),
        *COMPANIONS,
    ),
    read=read,
)
