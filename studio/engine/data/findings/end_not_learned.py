"""end_not_learned: rows whose answer is whole, and yet teaches no token with which a model ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from studio.engine.data.findings.survey import Detector, marked
from studio.engine.data.findings.traits import Texts

if TYPE_CHECKING:
    from studio.engine.data.encoder import Encoding


def mark(_: Texts, encodings: Sequence[Encoding]) -> bool:
    """Return whether the last row of an example was not cut off and does not teach an end."""
    return bool(encodings) and not encodings[-1].lost and not encodings[-1].teaches_end


FINDING = Detector(name="end_not_learned", order=110, which=marked(8), mark=mark, bit=8)
