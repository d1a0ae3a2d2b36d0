"""The pace at which what arrives is drawn."""

from __future__ import annotations

import math

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from studio.ui.plots import pace


class Clock:
    """Both clocks of a thread, set by hand: `now`, and what the thread has `worked`, in seconds."""

    def __init__(self) -> None:
        self.now = self.worked = 0.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.worked


@pytest.mark.parametrize(("worked", "waits"), [(0.001, 0.1), (0.020, 0.4), (0.5, 1.0)])
def test_drawing_takes_a_small_share_of_the_time_and_never_waits_for_long(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, worked: float, waits: float
) -> None:
    clock, owner = Clock(), QObject()
    monkeypatch.setattr(pace, "time", clock)
    drawn: list[float] = []

    def draw() -> None:
        drawn.append(clock.now)
        clock.worked += worked

    paced = pace.Pace(draw, owner)
    paced.ask()
    assert drawn == [0.0]
    paced.ask()
    while len(drawn) == 1:
        due = paced._timer.interval() / 1000
        paced._timer.stop()
        clock.now += due
        paced._timer.timeout.emit()
    assert drawn[1] == pytest.approx(waits, abs=0.002)


def test_what_comes_after_a_pause_is_drawn_at_once(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, owner = Clock(), QObject()
    monkeypatch.setattr(pace, "time", clock)
    drawn: list[float] = []
    paced = pace.Pace(lambda: drawn.append(clock.now), owner)
    paced.ask()
    paced._timer.stop()
    clock.now, clock.worked = 60.0, math.inf
    paced.ask()
    assert drawn == [0.0, 60.0]
