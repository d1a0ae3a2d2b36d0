"""Lines of a journal are read to the very values that the standard library gives, and refused with its words."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.json_line import parse_line

JOURNAL = Path(__file__).parents[1] / "earlier" / "run" / "events.jsonl"

ODD = b'"\\{}[]:,.eE+-0919\xff\xed\x00\n u'
NASTY = [
    # numbers
    b"-0", b"-0.0", b"0e0", b"1e400", b"-1e400", b"1e-400", b"5e-324", b"2e-324", b"2.2250738585072011e-308",
    b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616", b"1" * 400, b"1" * 5000,
    b"123456789012345678e300", b"1" + b"0" * 308 + b".0", b"0.1234567890123456789012345", b"1E+05", b"1.0e5",
    b"NaN", b"Infinity", b"-Infinity", b"[NaN, 1e999]", b"nan", b"-NaN", b"01", b"1.", b".5", b"+1", b"-", b"1e", b"0x1",
    # text
    rb'"\ud800"', rb'"\udc00\ud800"', rb'"\ud83d\ude00"', rb'"\ud83d x"', rb'{"\ud800": 1}', b'"\xff"', b'"\xed\xa0\x80"',
    b'"\xf0\x9f\x98"', b'"\x01"', b'"\t"', b'"\x7f"', rb'"\u0000"', b'"\xe2\x80\xa8"', rb'"\x"', rb'"\/"', rb'"\u12"', b'"',
    b'"' + "é😀\n".encode("unicode_escape") + b'"', b'"' + b"a" * 100_000 + b'"',
    # form
    b"", b" ", b"\n", b" \t\r\n1\r\n", b"\x0b1", b"\xc2\xa01", b"\xef\xbb\xbf{}", b"{} x", b"{}{}", b"{}\0", b"\0{}",
    b'{"a": 1, "b": 2, "a": 3}', b'{"a": {"a": 1, "a": [2]}}', b'{"": 1}', b"{1: 2}", b"{'a': 1}", b"[1,]", b'{"a": 1,}',
    b"[1 2]", b"[", b'{"a"', b"//x\n1", b"tru", b"True", b"null", b"true", b"[]", b"{}",
]  # fmt: skip


def by_the_library(line: bytes) -> Any:
    return json.loads(line.decode(errors="replace"))


def outcome(reader: Callable[[bytes], Any], line: bytes) -> str:
    """The value with its types (1 is not 1.0, -0.0 is not 0.0), or the words of the refusal."""
    try:
        return repr(reader(line))
    except ValueError as error:
        return f"refused: {error}"


@pytest.mark.parametrize("line", NASTY, ids=lambda line: ascii(line[:24]))
def test_an_odd_line_is_read_or_refused_as_by_the_standard_library(line: bytes) -> None:
    assert outcome(parse_line, line) == outcome(by_the_library, line)
    inside = b'{"type": "x", "value": ' + line + b"}"
    assert outcome(parse_line, inside) == outcome(by_the_library, inside)


@pytest.mark.parametrize("depth", [64, 199, 200, 201, 500])
@pytest.mark.parametrize("ends", [(b"[", b"]"), (b'{"a":', b"1}")])
def test_deep_lines_are_read_all_the_same(depth: int, ends: tuple[bytes, bytes]) -> None:
    first, last = ends[0] * depth, ends[1][:-1] + ends[1][-1:] * depth
    assert parse_line(first + last) == by_the_library(first + last)


def test_a_line_that_nests_without_end_is_refused() -> None:
    with pytest.raises(RecursionError):
        parse_line(b"[" * 100_000 + b"]" * 100_000)


def test_text_is_read_as_its_bytes_are() -> None:
    assert parse_line('{"a": "é\ud800", "b": 1e400}') == {"a": "é\ud800", "b": float("inf")}


def test_a_journal_and_what_damage_makes_of_it_are_read_as_by_the_standard_library() -> None:
    lines, chance = JOURNAL.read_bytes().splitlines(keepends=True), random.Random(0)
    for line in lines:
        assert outcome(parse_line, line) == outcome(by_the_library, line)
    for _ in range(3000):
        damaged = bytearray(chance.choice(lines)[:600])
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.randint(0, 2)] = bytes(chance.choices(ODD, k=chance.randint(0, 2)))
        assert outcome(parse_line, bytes(damaged)) == outcome(by_the_library, bytes(damaged))


def test_numbers_are_read_to_the_last_bit() -> None:
    chance = random.Random(1)
    for _ in range(5000):
        kinds = (
            repr(struct.unpack("d", chance.randbytes(8))[0]),
            f"{chance.random():.{chance.randint(1, 40)}f}",
            f"{chance.randint(1, 10 ** chance.randint(1, 25))}.{chance.randint(0, 10**20)}e{chance.randint(-330, 320)}",
            str(chance.randint(-(10**30), 10**30)),
        )
        line = f"[{', '.join(kinds)}]".replace("nan", "NaN").replace("inf", "Infinity").encode()
        assert outcome(parse_line, line) == outcome(by_the_library, line)
