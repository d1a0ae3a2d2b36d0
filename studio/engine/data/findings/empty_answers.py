"""empty_answers: answers that are empty or say nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from studio.engine.data.findings.survey import Detector, marked
from studio.engine.data.findings.traits import Texts

if TYPE_CHECKING:
    from studio.engine.data.encoder import Encoding

_NOTHING = re.compile(
    r"[\s.\-–—_…·。、]*|"
    r"[\[(<]?(?:n/a|#n/a|nan|null|tbd|todo|deleted|removed|empty|no (?:answer|output|response))[\])>]?\.?",
    re.IGNORECASE,
)


def mark(texts: Texts, _: Sequence[Encoding]) -> bool:
    """Return whether the answer is a stand-in for none, such as "N/A" or "...". Plain text is no answer."""
    return bool(texts.question and _NOTHING.fullmatch(texts.answer.strip()))


FINDING = Detector(
    name="empty_answers",
    order=40,
    which=marked(4),
    remedy="skip_empty_answers",
    mark=mark,
    bit=4,
    reasons=("empty_answer",),
)
