"""What a row of a text file is: chosen by what the file looks like, or by the user; all text is in some row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config import DataSource
from studio.engine.control import no_progress
from studio.engine.data.inspect import inspect_data
from studio.engine.data.readers import text_rows
from studio.engine.data.readers.open import read_rows
from studio.engine.data.report import Remark, Tally

LETTER = "Dear Anna,\nthe boat came at\nnoon and we all went\n\ndown to see it.\n"
WRAPPED = (
    "the wind had been rising since\nthe morning and nobody wanted to\ngo down to the water before the\n"
    "others had come back with ropes\nand said that all of it was safe\n"
)


def rows(path: Path, **options: Any) -> list[tuple[int, str]]:
    return [
        (row.number, row.values["text"])
        for row in read_rows(DataSource(path=str(path), **options), Tally(), no_progress)
    ]


def written(folder: Path, text: str, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text", "unit"),
    [
        ("a.txt", "One.\nTwo.\nThree.\n", "line"),
        ("a.txt", "One.\n\nTwo.\n\nThree.\n", "line"),
        ("a.txt", "apple\npear\ntangerine\nfig\n", "line"),
        ("a.txt", "第一章　那是一个灰色的早晨。\n湖边还没有人。\n", "line"),
        ("a.txt", "only one line", "line"),
        ("a.txt", ("One row.\n" * 100 + "\n") * 3, "line"),
        ("a.txt", "".join(f"2026-01-0{day} lake {day} is 90 m deep\n" for day in range(1, 9)), "line"),
        ("a.txt", LETTER, "paragraph"),
        ("a.txt", "Q: Why?\nA: Because.\n\nQ: When?\nA: Now.\n", "paragraph"),
        ("a.txt", WRAPPED, "document"),
        ("a.txt", WRAPPED.replace("\n", "\r\n"), "document"),
        ("a.md", "# Title\n\nText.\n", "document"),
        ("A.MD", "One line.\n", "document"),
        ("a.txt", "Install it:\n\n```sh\npip install thing\n```\n\nDone.\n", "document"),
    ],
)
def test_a_row_is_what_the_file_looks_like(name: str, text: str, unit: str, tmp_path: Path) -> None:
    path = written(tmp_path, text, name)
    assert rows(path) == rows(path, text_unit=unit)


def test_the_user_may_choose_another_unit(tmp_path: Path) -> None:
    path = written(tmp_path, "\n" + LETTER)
    assert rows(path, text_unit="line") == [
        (2, "Dear Anna,"),
        (3, "the boat came at"),
        (4, "noon and we all went"),
        (6, "down to see it."),
    ]
    assert rows(path, text_unit="paragraph") == [
        (2, "Dear Anna,\nthe boat came at\nnoon and we all went"),
        (6, "down to see it."),
    ]
    assert rows(path, text_unit="document") == [(2, LETTER.rstrip("\n"))]


def test_what_was_chosen_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, LETTER)
    assert (
        Remark.of("each_paragraph", file=str(path), count=2, rows=2)
        in inspect_data(DataSource(path=str(path))).problems
    )
    assert not inspect_data(DataSource(path=str(path), text_unit="line")).problems


def test_a_very_long_document_is_read_in_parts_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_rows, "_CHARACTERS", 50)
    parted = written(tmp_path, "A line of text.\n\n" * 20, "a.md")
    found = [text for _, text in rows(parted)]
    assert max(map(len, found)) < 100
    assert "\n\n".join(found) + "\n\n" == parted.read_text()
    unbroken = written(tmp_path, "A line of text.\n" * 20, "b.md")
    found = [text for _, text in rows(unbroken)]
    assert max(map(len, found)) < 130
    assert "\n".join(found) + "\n" == unbroken.read_text()


def test_a_line_that_is_no_text_costs_a_paragraph_only_that_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"One\n\xff\ntwo.\n\nThree\nfour.\n")
    assert rows(path, text_unit="paragraph", bad_rows="skip") == [(1, "One\ntwo."), (5, "Three\nfour.")]
