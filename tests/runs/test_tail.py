"""A growing file is read line by line, each line once."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.runs import tail
from studio.runs.tail import Tail


def test_lines_come_once_complete_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events"
    reader = Tail(path)
    assert reader.lines() == []
    with path.open("a", encoding="utf-8") as file:
        for text, expected in (("a\nb", ["a"]), ("", []), ("c\n", ["bc"]), ("d\né\n", ["d", "é"])):
            file.write(text)
            file.flush()
            assert reader.lines() == expected


def test_what_stood_there_before_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text("old\n")
    reader = Tail(path, at_end=True)
    path.write_text("old\nnew\n")
    assert reader.lines() == ["new"]


def test_a_long_file_comes_in_pieces_and_an_endless_line_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "CHUNK", 4)
    monkeypatch.setattr(tail, "LONGEST", 8)
    path = tmp_path / "events"
    path.write_text("1\n2\n" + "x" * 20 + "\n3\n")
    reader = Tail(path)
    read = [reader.lines() for _ in range(9)]
    assert read[0] == ["1", "2"]
    assert [line for lines in read[1:] for line in lines] == ["3"]
    assert reader.lines() == []
