"""What is known of the rows of a file or of a run, and what detectors find in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.findings.base import ROWS, Finding, Remedy
from studio.engine.data.findings.similar import near_groups, without_boilerplate
from studio.engine.data.findings.traits import Texts
from studio.engine.data.report import Remark

if TYPE_CHECKING:
    from studio.engine.data.encoder import Encoding

Rows = NDArray[np.bool_]
"""Which rows are meant, (rows,)."""


@dataclass(frozen=True, eq=False)
class Survey:
    """The rows that can be used, and the skipped ones.

    Attributes:
        traits: the numbers of each usable row (`findings.traits.ROW`), (rows,).
        skipped: number and reason of the first skipped rows of each reason; `skipped_rows` counts all of each.
        needed: tokens of the rows that are skipped because they are too long.
        max_length: tokens at which rows are cut; 0 where it is not known.
        trained, held_out: which rows are trained on and held out for validation, (rows,); None where that is not known.
    """

    traits: NDArray[Any]
    skipped: Sequence[tuple[int, Remark]] = ()
    skipped_rows: Mapping[Remark, int] = field(default_factory=dict)
    needed: Sequence[int] = ()
    max_length: int = 0
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
        # One number a pair: sorting pairs would hold Python's lock, and the window, for seconds.
        pairs: NDArray[np.int64] = np.unique(questions * len(questions) + self.answers, return_inverse=True)[1]
        return pairs


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
        mark: whether a row has it, from its texts and the rows of tokens that it became; None where it takes more than
            one row to know.
        bit: a power of two of its own, which remembers what `mark` said.
        reasons: codes of the reasons for which rows that have it are skipped anyway.
        describe: returns the values that its words need beside the count, and another remedy, if there is one.
    """

    name: str
    order: int
    which: Callable[[Survey], Rows]
    remedy: str = ""
    mark: Callable[[Texts, Sequence[Encoding]], bool] | None = None
    bit: int = 0
    reasons: tuple[str, ...] = ()
    describe: Callable[[Survey], tuple[dict[str, Any], Remedy | None]] | None = None

    def find(self, survey: Survey) -> Finding | None:
        """Return what there is to say of the rows that have it; None when none has."""
        numbers = survey.traits["number"][self.which(survey)].tolist()
        skipped = [number for number, reason in survey.skipped if reason.code in self.reasons]
        beside = sum(count for reason, count in survey.skipped_rows.items() if reason.code in self.reasons)
        if not numbers and not beside:
            return None
        values, remedy = self.describe(survey) if self.describe else ({}, None)
        if self.remedy and numbers:
            remedy = Remedy(self.remedy, "leave_out", self.name)
        return Finding(
            name=self.name,
            count=len(numbers) + beside,
            rows=tuple(sorted((*numbers, *skipped)))[:ROWS],
            values=tuple(values.items()),
            remedy=remedy,
        )


def marked(bit: int) -> Callable[[Survey], Rows]:
    """Return what tells which rows have a mark."""
    return lambda survey: survey.traits["marks"] & bit > 0
