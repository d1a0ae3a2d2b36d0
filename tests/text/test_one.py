"""What is said of one row is said in the singular, in every language."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

import pytest

from studio.i18n import set_language
from studio.text import advice, data, findings

# "1 rows", and "1 of 5 rows are"; "in 1 of 5 rows" is right.
PLURAL = re.compile(
    r"(?<!\d of )\b1 (?:rows|tokens|conversations|paragraphs)\b|\b1 of 5(?: \w+)? (?:are|were|hold|end)\b"
)
SAID: list[tuple[Callable[[str, Mapping[str, Any]], str], str, str]] = [
    (say, code, words if isinstance(words, str) else words[1])
    for say, table in (
        (findings.finding_text, findings.FINDINGS),
        (data.remark_text, data.WORDS),
        (advice.misfit_text, advice.MISFITS),
    )
    for code, words in table.items()
]
LISTS = {"numbers": [1], "columns": ["a"], "reason": "no_answer", "finding": "leaked"}


def _values(words: str, **counts: int) -> dict[str, Any]:
    names = [name for _, name, _, _ in Formatter().parse(words) if name]
    return dict.fromkeys(names, 7) | LISTS | counts


@pytest.mark.parametrize(("say", "code", "words"), SAID, ids=[code for _, code, _ in SAID])
def test_one_row_is_told_in_the_singular(say: Callable[[str, Mapping[str, Any]], str], code: str, words: str) -> None:
    rows = 5 if "{count}" in words else 1
    one = say(code, _values(words, count=1, rows=rows, lost=1))
    assert not PLURAL.search(one), one
    many = say(code, _values(words, count=3, rows=5))
    set_language("zh_CN")
    assert say(code, _values(words, count=1, rows=rows, lost=1)) != one
    assert say(code, _values(words, count=3, rows=5)) != many
