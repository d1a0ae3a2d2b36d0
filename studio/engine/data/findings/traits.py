"""What findings need to know of a row: a few numbers, made once while the row is read.

Detectors compare rows by these numbers and never see the text again, so that memory stays bounded, at some 300 bytes a
row.
The numbers are the same in every process and in every session; they are kept beside the tokens in the cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.formats.base import Example

if TYPE_CHECKING:
    from datasets import Dataset

VERSION = 4
"""Raise it when a change of this package gives a row other numbers: cached rows are then made again."""

SKETCH = 32
"""Hashes that are kept of a text."""
MOST = 500_000
"""Rows that are compared with each other; of a larger set, the first ones."""
NO_HASH = np.uint32(0xFFFFFFFF)
"""Fills the places of a sketch that a short text leaves empty."""
_DIGITS = re.compile(rb"\d+")
_SHINGLE = 8  # characters
_ENDS = 32  # bytes, so that ten characters of Chinese weigh as much as six words of English
_MARKS_AROUND_WORDS = ".,;:!?…\"'“”‘’«»()[]。，、；：！？（）《》「」【】¿¡"


ROW = np.dtype(
    [
        ("number", np.int64),
        ("content", np.int64),
        ("question", np.int64),
        ("answer", np.int64),
        ("question_frame", np.int64),
        ("answer_frame", np.int64),
        ("question_sketch", np.uint32, SKETCH),
        ("answer_sketch", np.uint32, SKETCH),
        ("gist", np.int64),
        ("claim", np.int64),
        ("stance", np.int8),
        ("asks", np.uint8),
        ("answer_words", np.int32),
        ("question_language", np.uint8),
        ("answer_language", np.uint8),
        ("marks", np.uint32),
        ("tokens", np.int64),
    ]
)
"""The numbers of a row.

`number` is its number in the file and `content` a hash of all of it. `question` and `answer` are hashes of the normal
texts, `question_frame` and `answer_frame` of what near texts have in common (`frame`), and `question_sketch` and
`answer_sketch` their sketches, filled up with `NO_HASH`.

`gist` and `claim` are hashes of what a short answer says, with and without its numbers and its "not"; of a long one, of
all of it. `stance` is 1 where it says yes and -1 where it says no. `asks` says whether there is one right answer
(`claims.asks`). `answer_words` counts the words of the answer; three characters of Chinese are one. Languages are
places in `language.LANGUAGES`, 0 where it is not known. `marks` has the bits of the detectors that look at single rows.
`tokens` is the length of the row before it was cut; 0 where it was not encoded.
"""


@dataclass(frozen=True, slots=True)
class Texts:
    """A row as findings see it.

    Attributes:
        question: all that stands before the last answer.
        answer: the last answer, or a whole plain text.
        everything: all of it.
        asked: the last question alone.
    """

    question: str
    answer: str
    everything: str
    asked: str

    @classmethod
    def of(cls, example: Example) -> Texts:
        """Return the texts of an example: of its turns, or of its pieces where it is no conversation."""
        turns = [(turn.content, turn.role == "assistant") for turn in example.messages]
        parts = turns or [(piece.text, piece.learnt) for piece in example.pieces]
        last = max((place for place, (_, answers) in enumerate(parts) if answers), default=len(parts) - 1)
        before = "\n".join(text for text, _ in parts[:last])
        return cls(before, parts[last][0], "\n".join(text for text, _ in parts), parts[last - 1][0] if last else "")


def normal(text: str) -> str:
    """Return text without what a copy may change: case, spacing, and punctuation around words."""
    words = [word.strip(_MARKS_AROUND_WORDS) for word in text.casefold().split()]
    return " ".join([word for word in words if word])


def hashed(*texts: str | bytes) -> int:
    """Return a hash of texts, of 64 bits with a sign."""
    parts = [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts]
    return int.from_bytes(blake2b(b"\0".join(parts), digest_size=8).digest(), "little", signed=True)


def frame(text: str) -> int:
    """Return a hash of what must be equal in normal texts that are nearly the same: their ends and all their digits."""
    encoded = text.encode("utf-8", "surrogatepass")
    return hashed(encoded[:_ENDS], encoded[-_ENDS:], *_DIGITS.findall(encoded))


def sketch(text: str) -> NDArray[np.uint32]:
    """Return the smallest hashes of the shingles of a text, ascending, (SKETCH,) at most.

    The share of hashes that two sketches have in common estimates the Jaccard similarity of their shingles, here runs
    of 8 characters, which serve languages without spaces as well (Broder, "On the resemblance and containment of
    documents", 1997; bottom-k sketches: Cohen and Kaplan, 2007).
    """
    grams: NDArray[np.uint32] = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    if len(grams) < _SHINGLE:
        return grams[:0]
    for step, factor in (
        (1, 0x9E3779B1),
        (2, 0x85EBCA77),
        (4, 0xC2B2AE3D),
    ):  # polynomial hashes of 2, 4 and 8 characters
        grams = grams[:-step] * np.uint32(factor) + grams[step:]
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):  # mixes the bits; the constants are lowbias32's
        grams ^= grams >> np.uint32(shift)
        grams *= np.uint32(factor)
    grams ^= grams >> np.uint32(16)
    if len(grams) > 4 * SKETCH:  # some are there several times
        grams = np.partition(grams, 4 * SKETCH)[: 4 * SKETCH]
    grams.sort()
    smallest: NDArray[np.uint32] = grams[np.append(True, grams[1:] != grams[:-1])][:SKETCH]
    return smallest


def traits_of(table: Dataset, places: NDArray[np.int64]) -> NDArray[Any]:
    """Return the numbers of some rows of a tokenised table, at ascending places, as `ROW`s, (places,)."""
    parts, begin = [np.empty(0, dtype=ROW)], 0
    for chunk in table.data.column("traits").chunks:
        on_disk = np.frombuffer(chunk.buffers()[2], dtype=ROW)[chunk.offset :]  # all values have the same length
        within = places[slice(*np.searchsorted(places, (begin, begin + len(chunk))))]
        parts.append(on_disk[within - begin])
        begin += len(chunk)
    return np.concatenate(parts)
