"""rated: data for KTO, of which the answers marked as good can be learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from studio.engine.data.formats.base import Columns, Example, Field, Format
from studio.engine.data.formats.companions import COMPANIONS
from studio.engine.data.formats.prompt_completion import continuation
from studio.engine.data.report import Remark
from studio.i18n import gettext_noop


def read(row: Mapping[str, Any], columns: Columns) -> Example:
    """Return the prompt and the answer. Whether the label is a good one has been looked at before."""
    example = continuation(row, columns, "completion")
    return replace(example, notes=(*example.notes, Remark("rated_data")))


FORMAT = Format(
    name="rated",
    title=gettext_noop("Rated answers"),
    explanation=gettext_noop("Data for KTO: prompt, completion, label. The answers with the label true are learnt."),
    order=70,
    fields=(Field("prompt"), Field("completion"), Field("label", ("kto_tag",))),
    companions=COMPANIONS,
    read=read,
)
