"""nothing_learned: rows that are skipped because all their labels are masked: the answer begins too late."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.engine.data.findings.base import Remedy
from studio.engine.data.findings.survey import Detector, Survey
from studio.engine.data.findings.truncated import raise_max_length


def describe(survey: Survey) -> tuple[dict[str, Any], Remedy | None]:
    """Return the limit, and what would be enough."""
    return {"limit": survey.max_length}, raise_max_length(survey)[1]


FINDING = Detector(
    name="nothing_learned",
    order=90,
    which=lambda survey: np.zeros(len(survey.traits), dtype=np.bool_),
    reasons=("answer_cut_off",),
    describe=describe,
)
