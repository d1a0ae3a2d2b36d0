"""What is known of the rows of a file or of a run, and what detectors find in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.findings.base import Finding, Remedy, finding
from studio.engine.data.findings.similar import near_groups, without_boilerplate
from studio.engine.data.report import Remark

Rows = NDArray[np.bool_]
"""Which rows are meant, (rows,)."""


@dataclass(frozen=True, eq=False)
class Survey:
    """The rows that can be used, and the skipped ones.

    Attributes:
        traits: the numbers of each usable row (`findings.traits.ROW`), (rows,).
        skipped: number and reason of the first skipped rows of each reason.
        trained, held_out: which rows are trained on and held out for validation, (rows,); None where that is not known.
    """

    traits: NDArray[Any]
    skipped: Sequence[tuple[int, Remark]] = ()
    trained: Rows | None = None
    held_out: Rows | None = None

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """A number for each row, the same for rows with nearly the same answer, (rows,)."""
        return near_groups(self.traits["answer"], self.traits["answer_frame"], self.traits["answer_sketch"])

    @cached_property
    def alike(self) -> NDArray[np.int64]:
        """A number for each row, the same for rows with nearly the same question and answer, (rows,)."""
        sketches = without_boilerplate(self.traits["question_sketch"])
        questions = near_groups(self.traits["question"], self.traits["question_frame"], sketches)
        return np.unique(np.stack([questions, self.answers]), axis=1, return_inverse=True)[1]


def repeats(groups: NDArray[np.int64]) -> Rows:
    """Return which rows are not the first of their group, (rows,)."""
    again = np.ones(len(groups), dtype=np.bool_)
    again[np.unique(groups, return_index=True)[1]] = False
    return again


@dataclass(frozen=True, kw_only=True)
class Detector:
    """One kind of finding: `FINDING` in a file of its own.

    Attributes:
        order: its place among the others.
        which: the rows that have it, (rows,).
        remedy: code of the remedy that leaves these rows out; "" where there is none.
    """

    name: str
    order: int
    which: Callable[[Survey], Rows]
    remedy: str = ""

    def find(self, survey: Survey) -> Finding | None:
        """Return what there is to say of the rows that have it; None when none has."""
        numbers = sorted(survey.traits["number"][self.which(survey)].tolist())
        remedy = Remedy(self.remedy, "leave_out", self.name) if self.remedy else None
        return finding(self.name, numbers, remedy) if numbers else None
