"""Tokenised rows, held in Arrow tables that are mapped from disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100


@dataclass(frozen=True, slots=True)
class TokenizedRow:
    """One row.

    Attributes:
        input_ids: its tokens.
        labels: the same tokens where they are learnt and -100 elsewhere; not shifted. The first is always -100.
        source: path of the file it came from.
        number: its line or position in that file, from 1.
    """

    input_ids: list[int]
    labels: list[int]
    source: str
    number: int


class RowStore(Sequence[TokenizedRow]):
    """A selection of tokenised rows, in order.

    Args:
        table: columns input_ids, supervised, length, learnt and number (tokenise.py).
        index: the rows of the table that are in this store.
        sources: path and role of each source; `source_of` says which of them each row of the table came from.

    Attributes:
        lengths: tokens of each row, int64, (rows,).
        supervised: tokens that are learnt of each row, int64, (rows,).
        roles: "domain" or "general", (rows,).
    """

    def __init__(
        self,
        table: Dataset,
        index: NDArray[np.int64],
        sources: Sequence[tuple[str, str]],
        source_of: NDArray[np.int64],
    ) -> None:
        self._table = table
        self._index = index
        self._paths = [path for path, _ in sources]
        self._source_of = source_of[index]
        self.lengths = column(table, "length")[index]
        self.supervised = column(table, "learnt")[index]
        self.roles = np.array([role for _, role in sources])[self._source_of]

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, place: int) -> TokenizedRow: ...
    @overload
    def __getitem__(self, place: slice) -> list[TokenizedRow]: ...
    def __getitem__(self, place: int | slice) -> TokenizedRow | list[TokenizedRow]:
        """Return the row at a place, read from disk."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        row = self._table[int(self._index[place])]
        ids = row["input_ids"]
        labels = [token if learnt else IGNORED for token, learnt in zip(ids, row["supervised"], strict=True)]
        return TokenizedRow(ids, labels, self._paths[self._source_of[place]], row["number"])

    def __iter__(self) -> Iterator[TokenizedRow]:
        return (self[place] for place in range(len(self)))


def column(table: Dataset, name: str) -> NDArray[np.int64]:
    """Return a column of numbers as int64, (rows,)."""
    return np.asarray(table.data.column(name).to_numpy(), dtype=np.int64)
