"""The rows of a source as the model will see them, opened one by one: what the X-ray shows.

The tokens come from the cache that training reads too, mapped from disk, so that a large set opens at once.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from studio.config import DataSource
from studio.config.data import MAX_LENGTH, SYSTEM_TURNS, TRAIN_ON, SystemTurns, TrainOn
from studio.engine.control import Progress, no_progress
from studio.engine.data.hub import local_sources
from studio.engine.data.lengths import longer_length
from studio.engine.data.readers.open import read_rows
from studio.engine.data.render import Renderer
from studio.engine.data.report import Remark, Tally
from studio.engine.data.rows import column
from studio.engine.data.tokenise import TokenisedSource, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Places = NDArray[np.int64]
"""Rows of an X-ray: 0 and above for rows that are taught, in the order of the file; below 0 for skipped ones."""

_AT_ONCE = 256
"""Rows whose text is searched between two reports of progress."""
_BEFORE = 8
"""Tokens before a part that are decoded with it: what a token reads as can depend on those before it."""
_BINS_PER_OCTAVE = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a row's text. A `special` one is a single token of the model's own, such as an end of turn."""

    text: str
    learnt: bool = False
    special: bool = False


@dataclass(frozen=True, slots=True)
class XRayRow:
    """One row.

    Attributes:
        number: its line or position in the file, from 1.
        part, parts: which of the rows that were made of this one it is, from 1, and how many there are.
        tokens, learnt, lost: counts of its tokens: all that are kept, those that are learnt, those that are cut off.
        reason: why it is skipped; None for a row that is taught.
    """

    number: int
    segments: tuple[Segment, ...] = ()
    part: int = 1
    parts: int = 1
    tokens: int = 0
    learnt: int = 0
    lost: int = 0
    reason: Remark | None = None


@dataclass(frozen=True)
class LengthHistogram:
    """Rows by their whole length in tokens, on a logarithmic axis.

    Attributes:
        edges: bin `k` holds lengths from `edges[k]` to below `edges[k + 1]`, (bins + 1,).
        kept, cut: rows of each bin that are as long as `max_length` at most, and longer ones, (bins,).
        median, longest: tokens of the row in the middle and of the longest.
    """

    edges: tuple[int, ...]
    kept: tuple[int, ...]
    cut: tuple[int, ...]
    median: int
    longest: int
    max_length: int

    @property
    def share(self) -> float:
        """The share of rows that are longer than `max_length`, 0 to 1."""
        return sum(self.cut) / max(1, sum(self.kept) + sum(self.cut))


@dataclass(frozen=True, slots=True)
class LengthSuggestion:
    """A `max_length` with which only `share` of the rows (0 to 1) would be cut."""

    max_length: int
    share: float


class XRay:
    """The rows of a source: those that are taught, and the first skipped ones of each reason.

    Args:
        sources: a source for each file.
        parts: the tokenised rows of each.

    Attributes:
        numbers, lengths, learnt, lost: of each taught row its number in the file, its tokens, those that are learnt
            and those that were cut off, int64, (rows,).
        skipped: number and reason of the skipped rows that were remembered.
        rows: all rows of the source, those that are skipped included.
        skipped_rows: how many are skipped.
    """

    def __init__(
        self,
        sources: Sequence[DataSource],
        parts: Sequence[TokenisedSource],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> None:
        import pyarrow as pa

        self._sources = sources
        self._tokenizer = tokenizer
        self._special = np.array(sorted(_special_ids(tokenizer)), dtype=np.int64)
        table = self._table = pa.concat_tables([part.rows for part in parts])
        self.max_length = max_length
        self.numbers, self.lengths = column(table, "number"), column(table, "length")
        self.learnt, self.lost = column(table, "supervised_tokens"), column(table, "lost")
        self._file = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
        self.rows = sum(part.tally.rows for part in parts)
        self.skipped_rows = sum(part.tally.skipped.total() for part in parts)
        self.skipped = [
            (file, number, reason)
            for file, part in enumerate(parts)
            for number, reason in sorted(part.tally.examples, key=lambda example: example[0])
        ]
        self._needed = np.array([length for part in parts for length in part.tally.needed], dtype=np.int64)
        self._read: dict[tuple[int, int], str] = {}

    def all(self) -> Places:
        """Return every row in the order of the file."""
        taught = np.arange(len(self.numbers), dtype=np.int64)
        skipped = self.all_skipped()
        places = np.concatenate([taught, skipped])
        files = np.concatenate([self._file, np.array([file for file, *_ in self.skipped], dtype=np.int64)])
        return places[np.lexsort((self.numbers_of(places), files))]

    def all_skipped(self) -> Places:
        """Return the skipped rows."""
        return -1 - np.arange(len(self.skipped), dtype=np.int64)

    def truncated(self) -> Places:
        """Return the rows that lose their end."""
        return np.flatnonzero(self.lost).astype(np.int64)

    def longest(self) -> Places:
        """Return the taught rows, the longest first; by their whole length."""
        return np.argsort(-(self.lengths + self.lost), kind="stable").astype(np.int64)

    def numbered(self, numbers: Collection[int]) -> Places:
        """Return the rows with these numbers, in the order of the file."""
        taught = np.flatnonzero(np.isin(self.numbers, list(numbers))).astype(np.int64)
        skipped = [-1 - place for place, (_, number, _) in enumerate(self.skipped) if number in numbers]
        return np.concatenate([taught, np.array(skipped, dtype=np.int64)])

    def numbers_of(self, places: Places) -> NDArray[np.int64]:
        """Return the numbers of some rows in their file, (places,)."""
        skipped = np.array([number for _, number, _ in reversed(self.skipped)], dtype=np.int64)
        return np.concatenate([self.numbers, skipped])[places]  # a place below 0 counts from the end

    def nearest(self, places: Places, number: int) -> int:
        """Return which of some rows (an index) has this number, or otherwise the next larger one, or the largest."""
        behind = self.numbers_of(places) - number
        return int(np.argmin(np.where(behind >= 0, behind, np.iinfo(np.int64).max // 2 - behind)))

    def page(self, places: Iterable[int], progress: Progress = no_progress) -> tuple[XRayRow, ...]:
        """Return some rows; skipped ones are read from the file. Raises `DataError` and `Cancelled`."""
        wanted = [int(place) for place in places]
        self._read_skipped([place for place in wanted if place < 0], progress)
        return tuple(map(self.row, wanted))

    def row(self, place: int) -> XRayRow:
        """Return a row; a skipped one has its text once `page` has read it."""
        if place < 0:
            file, number, reason = self.skipped[-1 - place]
            text = self._read.get((file, number))
            return XRayRow(number=number, segments=(Segment(text),) if text else (), reason=reason)
        row = self._table.slice(place, 1)
        ids = np.from_dlpack(row["input_ids"][0].values).astype(np.int32)
        learnt = np.array(row["supervised"][0].as_py(), dtype=np.bool_)
        first, parts = self._parts(place)
        return XRayRow(
            number=int(self.numbers[place]),
            segments=tuple(self._segments(ids, learnt)),
            part=place - first + 1,
            parts=parts,
            tokens=len(ids),
            learnt=int(self.learnt[place]),
            lost=int(self.lost[place]),
        )

    def search(self, text: str, found: list[int], progress: Progress = no_progress) -> None:
        """Append to `found` the taught rows whose text holds `text`, whatever its case, while they are found.

        Raises:
            Cancelled: the user cancelled; what was found so far stays.
        """
        wanted, total = text.casefold(), len(self.numbers)
        for begin in range(0, total, _AT_ONCE):
            progress("searching", begin, total)
            ids = self._table.column("input_ids").slice(begin, _AT_ONCE).to_pylist()
            # In Rust, outside Python's lock: the window stays responsive.
            texts = self._tokenizer.backend_tokenizer.decode_batch(ids, skip_special_tokens=False)
            found += [begin + place for place, read in enumerate(texts) if wanted in read.casefold()]

    def histogram(self) -> LengthHistogram:
        """Return the rows by length; rows that are skipped because they are too long are among them."""
        whole = self._whole_lengths()
        first, last = whole.min(initial=self.max_length), whole.max(initial=self.max_length)
        low, high = np.log2([max(first, 1), last + 1]) * _BINS_PER_OCTAVE
        exponents = np.arange(np.floor(low), np.ceil(high) + 1)
        edges = np.unique(np.floor(2 ** (exponents / _BINS_PER_OCTAVE)).astype(np.int64))
        is_cut = whole > self.max_length
        kept, cut = (np.histogram(whole[chosen], edges)[0] for chosen in (~is_cut, is_cut))
        return LengthHistogram(
            edges=tuple(edges.tolist()),
            kept=tuple(kept.tolist()),
            cut=tuple(cut.tolist()),
            median=int(np.median(whole)) if len(whole) else 0,
            longest=int(whole.max(initial=0)),
            max_length=self.max_length,
        )

    def suggestion(self, limit: int | None = None) -> LengthSuggestion | None:
        """Return a larger `max_length`, at most `limit`, with which nearly all rows are whole, or None."""
        whole = self._whole_lengths()
        value = longer_length(whole, self.max_length, limit) if len(whole) else None
        if value is None:
            return None
        return LengthSuggestion(value, float(np.mean(whole > value)))

    def _read_skipped(self, places: Iterable[int], progress: Progress) -> None:
        wanted: dict[int, set[int]] = {}
        for place in places:
            file, number, _ = self.skipped[-1 - place]
            if (file, number) not in self._read:
                wanted.setdefault(file, set()).add(number)
        for file, numbers in wanted.items():
            for row in read_rows(self._sources[file], Tally(), progress, "reading_data"):
                if row.number in numbers:
                    self._read[file, row.number] = _as_text(row.values)
                if row.number >= max(numbers):
                    break

    def _whole_lengths(self) -> NDArray[np.int64]:
        return np.concatenate([self.lengths + self.lost, self._needed])

    def _parts(self, place: int) -> tuple[int, int]:
        """Return the first of the rows that were made of the same row of the file, and how many they are."""
        first = last = place
        same = (self._file[place], self.numbers[place])
        while first and (self._file[first - 1], self.numbers[first - 1]) == same:
            first -= 1
        while last + 1 < len(self.numbers) and (self._file[last + 1], self.numbers[last + 1]) == same:
            last += 1
        return first, last - first + 1

    def _segments(self, ids: NDArray[np.int32], learnt: NDArray[np.bool_]) -> Iterator[Segment]:
        """Yield the text of tokens (tokens,) in parts that are learnt or not; each special token is a part."""
        special = np.isin(ids, self._special)
        begins = np.ones(len(ids), dtype=np.bool_)
        begins[1:] = special[1:] | special[:-1] | (learnt[1:] != learnt[:-1])
        places = [*np.flatnonzero(begins).tolist(), len(ids)]
        for begin, end in pairwise(places):
            before = self._decode(ids[max(0, begin - _BEFORE) : begin])
            text = self._decode(ids[max(0, begin - _BEFORE) : end])[len(before) :]
            if text:
                yield Segment(text, bool(learnt[begin]), bool(special[begin]))

    def _decode(self, ids: NDArray[np.int32]) -> str:
        return str(self._tokenizer.decode(ids.tolist(), clean_up_tokenization_spaces=False))


def open_xray(
    source: DataSource,
    tokenizer: PreTrainedTokenizerBase,
    kind: Literal["base", "chat"],
    train_on: TrainOn = TRAIN_ON,
    max_length: int = MAX_LENGTH,
    prompt_template: str = "",
    system_turns: SystemTurns = SYSTEM_TURNS,
    progress: Progress = no_progress,
) -> XRay:
    """Tokenise a source, or find it in the cache, and return its rows.

    Raises:
        DataError: the file cannot be read.
        ModelError: the tokenizer or its template cannot be used.
        Cancelled: the user cancelled.
    """
    renderer = Renderer(tokenizer, kind, train_on, max_length, prompt_template, system_turns)
    files = local_sources(source, progress)
    parts = [tokenise(file, renderer, progress, allow_empty=True) for file in files]
    return XRay(files, parts, tokenizer, max_length)


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def _as_text(values: Mapping[str, Any]) -> str:
    """Return a row as it stands in the file: a line for each column."""
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in values.items()
    )
