"""Make the numbers of rows while they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.findings import DETECTORS
from studio.engine.data.findings.claims import SHORT, asks, claim, gist, stance, words
from studio.engine.data.findings.language import asks_for_a_language, language
from studio.engine.data.findings.traits import MOST, NO_HASH, ROW, Texts, frame, hashed, normal, sketch
from studio.engine.data.formats.base import Example

if TYPE_CHECKING:
    from studio.engine.data.encoder import Encoding


def traits(number: int, example: Example, encodings: Sequence[Encoding] = ()) -> bytes:
    """Return the numbers of a row, as the bytes of one `ROW`; `encodings` are the rows of tokens that it became."""
    texts = Texts.of(example)
    answer = normal(texts.answer)
    row = np.zeros((), dtype=ROW)
    row["number"] = number
    row["content"] = hashed(texts.question, texts.answer)
    for name, text in (("question", normal(texts.question)), ("answer", answer)):
        row[name], row[f"{name}_frame"] = hashed(text), frame(text)
        row[f"{name}_sketch"] = NO_HASH
        hashes = sketch(text)
        row[f"{name}_sketch"][: len(hashes)] = hashes
    short = len(answer) <= SHORT
    row["gist"], row["claim"] = (hashed(gist(answer)), hashed(claim(answer))) if short else (row["answer"],) * 2
    row["stance"], row["answer_words"] = stance(answer), words(answer)
    row["asks"], row["question_language"] = asks(texts.asked), language(texts.asked)
    spoken = language(texts.answer)
    row["answer_language"] = 0 if spoken != row["question_language"] and asks_for_a_language(texts.question) else spoken
    marks = [detector.bit for detector in DETECTORS if detector.mark and detector.mark(texts, encodings)]
    row["marks"] = sum(marks)
    row["tokens"] = max((len(encoding.input_ids) + encoding.lost for encoding in encodings), default=0)
    return row.tobytes()


class TraitList:
    """The numbers of the rows of a file while it is read, at most `MOST`."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    @property
    def is_full(self) -> bool:
        """Whether no more rows are taken."""
        return len(self._bytes) >= MOST * ROW.itemsize

    def add(self, row: bytes) -> None:
        """Append those of a row, which `traits` has made."""
        if not self.is_full:
            self._bytes += row

    def rows(self) -> NDArray[Any]:
        """Return them as `ROW`s, (rows,); none can be added any more."""
        return np.frombuffer(self._bytes, dtype=ROW)
