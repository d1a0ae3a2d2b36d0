"""The rows of the files behind the rows of a tokenised table: one row of a file may have become several there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.findings import DETECTORS
from studio.engine.data.findings.survey import Rows, Survey
from studio.engine.data.findings.traits import MOST, traits_of
from studio.engine.data.report import Tally
from studio.engine.data.rows import column

if TYPE_CHECKING:
    from datasets import Dataset


class Examples:
    """The examples of a table whose rows have the traits of the rows that they were made of.

    Args:
        table: tokenised rows; the rows of one example are neighbours.
        source_of: which file each row came from, (rows,).
        tallies: the counts of each file.
        max_length: tokens at which rows are cut.

    Attributes:
        begins: which rows of the table are the first of an example, (rows,).
        survey: what is known of the first `MOST` examples.
    """

    def __init__(self, table: Dataset, source_of: NDArray[np.int64], tallies: Sequence[Tally], max_length: int) -> None:
        places = np.stack([source_of, column(table, "number")])
        self.begins: Rows = np.ones(len(table), dtype=np.bool_)
        self.begins[1:] = (places[:, 1:] != places[:, :-1]).any(axis=0)
        self._first = np.flatnonzero(self.begins)[:MOST]
        self.survey = Survey(
            traits_of(table, self._first),
            skipped=[found for tally in tallies for found in tally.examples],
            skipped_rows=sum((tally.skipped for tally in tallies), Counter()),
            needed=[length for tally in tallies for length in tally.needed],
            max_length=max_length,
        )

    def having(self, name: str, trained: Rows | None = None, held_out: Rows | None = None) -> Rows:
        """Return which rows of the table have a finding, (rows,).

        Args:
            trained, held_out: which rows of the table are trained on and held out, (rows,); only "leaked" needs it.
        """
        survey = self.survey
        if trained is not None and held_out is not None:
            survey = replace(survey, trained=trained[self._first], held_out=held_out[self._first])
        found = np.zeros(int(self.begins.sum()), dtype=np.bool_)
        found[: len(survey.traits)] = DETECTORS.get(name).which(survey)
        of_rows: Rows = found[np.cumsum(self.begins) - 1]
        return of_rows

    def within(self, trained: NDArray[np.int64], held_out: NDArray[np.int64]) -> Survey:
        """Return the survey of the examples that are trained on or held out, at these places in the table."""
        part = np.zeros(len(self.begins), dtype=np.int8)
        part[trained], part[held_out] = 1, 2
        part = part[self._first]
        used = part > 0
        traits, part = self.survey.traits[used], part[used]
        return replace(self.survey, traits=traits, trained=part == 1, held_out=part == 2)
