"""The progress line on a terminal and in a file."""

from __future__ import annotations

import io

import pytest

from studio.commands.console import ProgressLine, clip, progress_parts


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the line sees; set the first element."""
    now = [0.0]
    monkeypatch.setattr("studio.commands.console.time.monotonic", lambda: now[0])
    return now


def test_in_a_file_each_stage_gets_a_line_and_a_long_one_now_and_then(clock: list[float]) -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    for second in range(25):
        clock[0] = float(second)
        line.show_stage("training", second, 100)
    line.show_stage("saving", 0, 0)
    assert [text.split()[-1] for text in stream.getvalue().splitlines()] == ["0/100", "10/100", "20/100", "Saving"]


def test_a_finished_stage_is_always_shown(clock: list[float]) -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    line.show_stage("training", 99, 100)
    line.show_stage("training", 100, 100)
    assert stream.getvalue().splitlines()[-1].endswith("100/100")


def test_on_a_terminal_the_line_is_rewritten_and_leaves_nothing(clock: list[float]) -> None:
    stream = Terminal()
    line = ProgressLine(stream)
    line.show_stage("loading_model", 0, 0)
    line.show_stage("saving", 0, 0)
    line.clear()
    *_, blank, end = stream.getvalue().split("\r")
    assert not blank.strip()
    assert end == ""
    assert "\n" not in stream.getvalue()


def test_a_shorter_line_covers_the_longer_one_before_it(clock: list[float]) -> None:
    stream = Terminal()
    line = ProgressLine(stream)
    line.show_stage("training", 1, 2, "loss 1.0000")
    before = len(stream.getvalue().rsplit("\r", 1)[-1])
    line.show_stage("saving", 0, 0)
    assert len(stream.getvalue().rsplit("\r", 1)[-1]) == before


def test_downloads_count_bytes_and_the_rest_counts_pieces() -> None:
    assert progress_parts("downloading", 512 * 1024, 1024 * 1024)[-1] == "512 KB / 1 MB"
    assert progress_parts("loading_model", 3 * 1024**3, 15 * 1024**3)[-1] == "3 GB / 15 GB"
    assert progress_parts("training", 3, 40)[-1] == "3/40"


def test_more_done_than_planned_keeps_the_bar_in_its_place() -> None:
    assert "░" not in progress_parts("training", 50, 40)[1]
    assert len(progress_parts("training", 50, 40)[1]) == len(progress_parts("training", 1, 40)[1])


@pytest.mark.parametrize(("text", "columns", "expected"), [("训练中", 5, ("训练", 4)), ("abc", 2, ("ab", 2))])
def test_chinese_characters_take_two_columns(text: str, columns: int, expected: tuple[str, int]) -> None:
    assert clip(text, columns) == expected
