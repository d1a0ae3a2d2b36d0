"""Properties of the readers: whatever was written comes back, however it lies in the file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest

from studio.config import DataSource
from studio.engine.control import no_progress
from studio.engine.data.readers import files
from studio.engine.data.readers import lines as line_reader
from studio.engine.data.readers.files import fingerprint
from studio.engine.data.readers.json_elements import ElementScanner
from studio.engine.data.readers.json_values import JsonValues, Malformed
from studio.engine.data.readers.lines import Line, TextFile
from studio.engine.data.readers.open import read_rows
from studio.engine.data.report import Tally
from studio.errors import DataError

SCRAPS = [
    '"',
    "\\",
    "\n",
    "\r\n",
    "\r",
    ",",
    ";",
    "[",
    "]",
    "{",
    "}",
    "a",
    "08",
    " ",
    "é",
    "你",
    "👩‍👧",
    "\u2028",
    "\x85",
    "'",
]


def scrap(source: random.Random) -> str:
    return "".join(source.choices(SCRAPS, k=source.randint(0, 8)))


def value(source: random.Random, depth: int = 0) -> Any:
    kind = source.randint(0, 5 if depth < 3 else 3)
    if kind == 4:
        return [value(source, depth + 1) for _ in range(source.randint(0, 3))]
    if kind == 5:
        return {scrap(source): value(source, depth + 1) for _ in range(source.randint(0, 3))}
    return [scrap(source), None, True, scrap(source)][kind]


def blocks(text: str, source: random.Random) -> list[str]:
    cuts = sorted(source.randint(0, len(text)) for _ in range(source.randint(0, 8)))
    return [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.parametrize("seed", range(60))
def test_a_list_comes_apart_into_its_elements_wherever_the_blocks_end(seed: int) -> None:
    source = random.Random(seed)
    rows = [value(source) for _ in range(source.randint(0, 6))]
    text = json.dumps(rows, indent=source.choice([None, 1]), ensure_ascii=source.random() < 0.5)
    elements = list(ElementScanner(blocks(text, source), listed=True))
    assert [json.loads(element.text) for element in elements] == rows
    for element in elements:
        line = text.split("\n")[element.line - 1]
        assert line[element.column - 1 :].startswith(element.text.split("\n")[0])


@pytest.mark.parametrize("seed", range(30))
def test_objects_one_after_another_come_apart(seed: int) -> None:
    source = random.Random(seed)
    rows = [{"a": value(source)} for _ in range(source.randint(1, 6))]
    text = source.choice(["", " ", "\n"]).join(json.dumps(row, indent=source.choice([None, 1])) for row in rows)
    assert [json.loads(e.text) for e in ElementScanner(blocks(text, source), listed=False)] == rows


@pytest.mark.parametrize(
    "text", ["[1", "[1,", '["a', "[[1]", "[1]]", "[1] 2", "[,1]", "[1,,2]", "[1,]", "[1}", "1", "[1]["]
)
def test_a_list_that_is_none_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(Malformed) as refusal:
        list(ElementScanner([text], listed=True))
    assert refusal.value.line == 1


@pytest.mark.parametrize(
    "literal", ["1", "-0", "1.10", "1e400", "123456789012345678901234567890", "0.1000000000000000055"]
)
def test_a_number_is_the_text_that_stands_in_the_file(literal: str) -> None:
    assert JsonValues().parse(f'{{"a": {literal}}}') == {"a": literal}


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32", "gb18030"])
def test_lines_joined_are_the_file(seed: int, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(seed)
    monkeypatch.setattr(line_reader, "_BLOCK", source.randint(1, 9))
    text = "".join(scrap(source) for _ in range(200))
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    lines = list(TextFile(path, encoding, no_progress, "reading_data").lines())
    assert all(isinstance(line, Line) for line in lines)
    assert [line.text for line in lines if isinstance(line, Line)] == re.findall(
        r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text
    )


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_cells_come_back_as_they_were_written(seed: int, delimiter: str, tmp_path: Path) -> None:
    source = random.Random(seed)
    cells = [[scrap(source) + "x", scrap(source), "NA"] for _ in range(9)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["text", "b", "c"], *cells])
    path = tmp_path / "a.csv"
    path.write_bytes(buffer.getvalue().encode())
    rows = list(read_rows(DataSource(path=str(path)), Tally(), no_progress))
    assert [list(row.values.values()) for row in rows] == cells


@pytest.mark.parametrize("seed", range(20))
def test_json_lines_come_back_as_they_were_written(seed: int, tmp_path: Path) -> None:
    source = random.Random(seed)
    rows = [{"text": scrap(source), scrap(source) or "b": value(source)} for _ in range(20)]
    path = tmp_path / "a.jsonl"
    path.write_bytes(source.choice([b"\n", b"\r\n", b"\r"]).join(json.dumps(row).encode() for row in rows))
    assert [row.values for row in read_rows(DataSource(path=str(path)), Tally(), no_progress)] == rows


def test_skipping_never_loses_what_follows_a_row_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,b\n"open,1\nlost,2\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2: not valid CSV .* mend the file"):
        list(read_rows(DataSource(path=str(path), bad_rows="skip"), Tally(), no_progress))


def test_a_hash_is_remembered_until_the_file_changes_and_never_of_a_file_that_changed_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looks = tmp_path / "rows.jsonl", []

    def hashed() -> tuple[str, bool]:
        looks.clear()
        return fingerprint(path, lambda *look: looks.append(look)), bool(looks)

    path.write_text("first", encoding="utf-8")
    first = hashlib.sha256(b"first").hexdigest()
    assert hashed() == hashed() == (first, True)
    monkeypatch.setattr(files, "_SETTLED_NS", -(10**12))
    assert [hashed(), hashed()] == [(first, True), (first, False)]
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of files ticks every few milliseconds
        path.write_text("other", encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hashed() == (hashlib.sha256(b"other").hexdigest(), True)
