"""truncated: rows that lose their end at the longest length."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.engine.data.findings.base import Remedy
from studio.engine.data.findings.survey import Detector, Survey

_SHARE = 0.01
"""Share of rows that the suggested length may still cut."""
_MULTIPLE = 64
_MOST = 8  # times the present length: memory grows with it


def raise_max_length(survey: Survey) -> tuple[dict[str, Any], Remedy]:
    """Return the share of rows that are longer than the longest length, and a length that cuts hardly any."""
    encoded = survey.traits["tokens"][survey.traits["tokens"] > 0]
    lengths = np.sort(np.concatenate([encoded, np.array(survey.needed, dtype=np.int64)]))
    limit = survey.max_length
    enough = int(lengths[min(len(lengths) - 1, round(len(lengths) * (1 - _SHARE)))])
    suggested = min(-(-max(enough, limit + 1) // _MULTIPLE) * _MULTIPLE, _MOST * limit)
    shares = {"share": float(np.mean(lengths > limit)), "share_then": float(np.mean(lengths > suggested))}
    return {"limit": limit, "suggested": suggested, **shares}, Remedy("raise_max_length", "max_length", suggested)


FINDING = Detector(
    name="truncated",
    order=100,
    which=lambda survey: (survey.traits["tokens"] > survey.max_length) & (survey.max_length > 0),
    describe=raise_max_length,
)
