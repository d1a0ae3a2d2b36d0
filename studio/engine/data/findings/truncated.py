"""truncated: rows that lose their end at the longest length."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.engine.data.findings.base import Remedy
from studio.engine.data.findings.survey import Detector, Survey
from studio.engine.data.lengths import longer_length, rounded_up

_MOST = 8  # times the present length: memory grows with it


def raise_max_length(survey: Survey) -> tuple[dict[str, Any], Remedy]:
    """Return what rows lose that are longer than the longest length, and a length that cuts fewer."""
    encoded = survey.traits["tokens"][survey.traits["tokens"] > 0]
    lengths = np.concatenate([encoded, np.array(survey.needed, dtype=np.int64)])
    limit = survey.max_length
    most = _MOST * limit if len(encoded) else None  # where no row is used, only a length that is enough helps
    suggested = longer_length(lengths, limit, most) or min(rounded_up(int(lengths.max())), _MOST * limit)
    values = {
        "limit": limit,
        "lost": int((encoded - limit)[encoded > limit].sum()),
        "suggested": suggested,
        "share": float(np.mean(lengths > limit)),
        "share_then": float(np.mean(lengths > suggested)),
    }
    return values, Remedy("raise_max_length", "max_length", suggested)


FINDING = Detector(
    name="truncated",
    order=100,
    which=lambda survey: (survey.traits["tokens"] > survey.max_length) & (survey.max_length > 0),
    describe=raise_max_length,
)
