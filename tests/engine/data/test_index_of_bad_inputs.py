"""Every bad input of the project's list about data, 1 to 61, has a test that bears its number."""

from __future__ import annotations

import re
from pathlib import Path

_NUMBER = re.compile(r"def test_(\d+)_|item=\"(\d+)|^\s+\(?\"(\d+)[-\"]", re.MULTILINE)


def test_every_number_of_the_list_has_a_test() -> None:
    found = {
        int(number)
        for file in Path(__file__).parent.glob("**/test_*.py")
        for numbers in _NUMBER.findall(file.read_text(encoding="utf-8"))
        for number in numbers
        if number
    }
    assert set(range(1, 62)) - found == set()
