"""Every code of the data room has words, and no words are left without a code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import studio.engine.data
from studio.text import data

_CODE = re.compile(r"""(?:Remark(?:\.of)?|_because)\(\s*"(\w+)"(?: if \w+ else "(\w+)")?""")


def test_every_code_of_the_data_room_has_words_and_no_words_are_left_over() -> None:
    folder = Path(studio.engine.data.__path__[0])
    found = {code for file in folder.rglob("*.py") for pair in _CODE.findall(file.read_text("utf-8")) for code in pair}
    assert found - {""} == set(data.WORDS)


def test_a_problem_names_its_reason_and_the_first_few_rows() -> None:
    values = {"file": "a.csv", "count": 3, "rows": 9, "numbers": [2, 5], "reason": "empty_field", "field": "output"}
    assert data.remark_text("rows_skipped", values) == (
        'a.csv: 3 of 9 rows are skipped because "output" is missing or empty (row 2, 5, …).'
    )


def test_a_code_without_words_is_an_error() -> None:
    with pytest.raises(KeyError):
        data.remark_text("unheard_of")
