"""preference: data for DPO, of which the chosen answers can be learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format
from studio.engine.data.formats.prompt_completion import continuation
from studio.engine.data.report import Remark
from studio.i18n import gettext_noop


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the prompt and the chosen answer."""
    example = continuation(row, columns, "chosen")
    return replace(example, notes=(*example.notes, Remark("preference_data")))


FORMAT = Format(
    name="preference",
    title=gettext_noop("Preference pairs"),
    explanation=gettext_noop("Data for DPO: prompt, chosen, rejected. The chosen answer is learnt."),
    order=60,
    fields=(
        Field("chosen"),
        Field("rejected"),
        Field("prompt", ("question", "input", "instruction"), required=False),
        Field("system", required=False),
    ),
    read=read,
)
