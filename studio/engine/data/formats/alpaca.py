"""alpaca: instruction, optional input, output (Stanford Alpaca, 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format, Piece
from studio.engine.data.formats.companions import COMPANIONS, Companions, joined
from studio.engine.data.formats.marks import is_filled
from studio.engine.data.formats.prompt_completion import answer_text, best_answer, exchange_beside
from studio.engine.data.formats.values import NO_ANSWER, text
from studio.engine.data.report import Remark, RowSkipped
from studio.i18n import gettext_noop

# The customary layout, word for word: Base models that saw Alpaca data know it.
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return question and answer; an input without an instruction is the question."""
    beside = Companions.of(row, columns)
    asked = [text(row, columns, name) if name in columns else "" for name in ("instruction", "input", "question")]
    given = [part for part in (asked[0], beside.context, *asked[1:]) if part.strip()]
    if not given:
        raise RowSkipped(Remark.of("empty_field", field=columns["instruction"]))
    if not is_filled(row.get(columns["output"])):
        raise RowSkipped(NO_ANSWER)
    beside = replace(beside, context="")  # it stands behind the instruction, as an input does
    value, notes = best_answer(row[columns["output"]])
    answer = beside.answer(answer_text(value, columns["output"]))
    example = exchange_beside(beside, given, answer, notes)
    if beside.history:
        return example
    instruction, rest = given[0], joined([*given[1:], beside.listed_choices])
    layout = WITH_INPUT if rest else WITHOUT_INPUT
    prompt = joined([beside.system, layout.format(instruction=instruction, input=rest)])
    return replace(example, pieces=(Piece(prompt, learnt=False), Piece(answer, learnt=True)))


FORMAT = Format(
    name="alpaca",
    title=gettext_noop("Alpaca"),
    explanation=gettext_noop("One instruction a row: instruction, an optional input, and the output to learn."),
    order=30,
    fields=(
        Field("instruction", ("指令",)),
        Field("input", ("输入",), required=False),
        Field(
            "output",
            ("response", "answer", "completion", "target", "responses", "completions", "输出", "回答", "答案", "回复"),
        ),
    ),
    companions=(
        Field("question", ("query", "problem", "prompt"), required=False),
        *COMPANIONS,
    ),
    read=read,
)
