"""alpaca: instruction, optional input, output (Stanford Alpaca, 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format, Piece
from studio.engine.data.formats.values import NO_ANSWER, exchange, text
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
    given = [value for name in ("instruction", "input") if (value := text(row, columns, name)).strip()]
    answer = text(row, columns, "output")
    if not given:
        raise RowSkipped(Remark.of("empty_field", field=columns["instruction"]))
    if not answer.strip():
        raise RowSkipped(NO_ANSWER)
    layout = WITH_INPUT if len(given) == 2 else WITHOUT_INPUT
    prompt = layout.format(instruction=given[0], input=given[-1])
    return Example(
        pieces=(Piece(prompt, learnt=False), Piece(answer, learnt=True)),
        messages=exchange("\n\n".join(given), answer, text(row, columns, "system")),
    )


FORMAT = Format(
    name="alpaca",
    title=gettext_noop("Alpaca"),
    explanation=gettext_noop("One instruction a row: instruction, an optional input, and the output to learn."),
    order=30,
    fields=(
        Field("instruction"),
        Field("input", ("context",), required=False),
        Field("output", ("response", "answer", "completion")),
        Field("system", required=False),
    ),
    read=read,
)
