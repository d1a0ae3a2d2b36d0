"""Tokenised rows, held in Arrow files that are mapped from disk."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

IGNORED = -100


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedRow:
    """One row.

    Attributes:
        input_ids: its tokens, int32, (tokens,); a read-only view of the file on disk.
        labels: the same tokens where they are learnt and -100 elsewhere, int32, (tokens,); not shifted. The first is
            always -100.
        source: path of the file it came from.
        number: its line or position in that file, from 1.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    source: str
    number: int


class RowStore:
    """A selection of tokenised rows, in order.

    Args:
        rows: all rows of the run, with the columns of `TokenisedSource.rows`.
        selected: the rows that are in this store, as places in `rows`, (selected,).
        sources: path and role of each source.
        source_of: the source that each of `rows` came from, as a place in `sources`, (rows,).

    Attributes:
        lengths: tokens of each row, int64, (rows,).
        supervised: tokens that are learnt of each row, int64, (rows,).
        lost: tokens that were cut off each row at the longest length, int64, (rows,).
        numbers: the line or position of each row in its file, from 1, int64, (rows,).
        roles: "domain" or "general", (rows,).
    """

    def __init__(
        self,
        rows: Dataset,
        selected: NDArray[np.int64],
        sources: Sequence[tuple[str, str]],
        source_of: NDArray[np.int64],
    ) -> None:
        self._rows = rows.select(selected).with_format("arrow")
        self._paths = [path for path, _ in sources]
        self._source_of = source_of[selected]
        self.lengths = column(rows, "length")[selected]
        self.supervised = column(rows, "supervised_tokens")[selected]
        self.lost = column(rows, "lost")[selected]
        self.numbers = column(rows, "number")[selected]
        self.roles = np.array([role for _, role in sources])[self._source_of]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> TokenizedRow:
        """Return the row at a place, read from disk."""
        row = self._rows[int(place)]
        ids, supervised = (row[name][0].values.to_numpy(zero_copy_only=False) for name in ("input_ids", "supervised"))
        labels = np.where(supervised, ids, np.int32(IGNORED))
        return TokenizedRow(ids, labels, self._paths[self._source_of[place]], int(self.numbers[place]))

    def select(self, places: NDArray[np.int64]) -> RowStore:
        """Return a store of the rows at some places, in the order given."""
        chosen = copy.copy(self)
        chosen._rows = self._rows.select(places)
        chosen._source_of = self._source_of[places]
        for name in ("lengths", "supervised", "lost", "numbers", "roles"):
            setattr(chosen, name, getattr(self, name)[places])
        return chosen

    def __iter__(self) -> Iterator[TokenizedRow]:
        return (self[place] for place in range(len(self)))


def column(rows: Dataset | pa.Table, name: str) -> NDArray[np.int64]:
    """Return a column of numbers as int64, (rows,)."""
    table = getattr(rows, "data", rows)
    # Not `to_numpy`: its first call imports pandas, which takes a second.
    return np.from_dlpack(table.column(name).combine_chunks()).astype(np.int64)
