"""Where the clicks and keys of `ways.py` come from: from Qt itself, or from the X server as those of a hand do."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QWindow
from PySide6.QtTest import QTest
from typing_extensions import override

from tests.e2e.hands import LEFT

Key, Modifier = Qt.Key, Qt.KeyboardModifier
NOTCH = QPoint(0, -120)  # of a wheel, downwards
ARRIVAL = 50  # milliseconds, in which the window manager and Qt have passed an event of the X server on
BETWEEN = 60  # milliseconds between the clicks of a double or triple click
NAMES = {Key.Key_Backtab: "Tab", Key.Key_Space: "space"}  # what the X server calls a key, where Qt says otherwise


class Events(ABC):
    """What a mouse and a keyboard can do."""

    @abstractmethod
    def click(self, window: QWindow, place: QPoint, modifier: Modifier, times: int) -> None:
        """Move to a place in a window and click there, so many times in a row."""

    @abstractmethod
    def wheel(self, window: QWindow, place: QPoint, *, down: bool) -> None:
        """Turn the wheel by a notch."""

    @abstractmethod
    def key(self, window: QWindow, key: Key, modifier: Modifier) -> None:
        """Press a key."""

    @abstractmethod
    def letter(self, window: QWindow, letter: str) -> None:
        """Type a letter."""


class OfQt(Events):
    """Events are given to a window as Qt's own part for the platform gives them; they work on every platform."""

    @override
    def click(self, window: QWindow, place: QPoint, modifier: Modifier, times: int) -> None:
        QTest.mouseMove(window, place)
        for count in range(times):
            press = QTest.mouseDClick if count % 2 else QTest.mouseClick
            press(window, LEFT, modifier, place)

    @override
    def wheel(self, window: QWindow, place: QPoint, *, down: bool) -> None:
        QTest.wheelEvent(window, place, NOTCH if down else -NOTCH)

    @override
    def key(self, window: QWindow, key: Key, modifier: Modifier) -> None:
        QTest.keyClick(window, key, modifier)

    @override
    def letter(self, window: QWindow, letter: str) -> None:
        QTest.keyClick(window, ord(letter))


class OfTheXServer(Events):
    """Events come from the X server, by xdotool: its pointer moves, and it chooses the window that a click or key is for."""

    @override
    def click(self, window: QWindow, place: QPoint, modifier: Modifier, times: int) -> None:
        held = ["ctrl"] if modifier & Modifier.ControlModifier else []
        there = window.mapToGlobal(place)
        words = ["mousemove", str(there.x()), str(there.y())]
        words += [word for key in held for word in ("keydown", key)]
        words += ["click", "--repeat", str(times), "--delay", str(BETWEEN), "1"]
        _xdotool(*words, *(word for key in held for word in ("keyup", key)))

    @override
    def wheel(self, window: QWindow, place: QPoint, *, down: bool) -> None:
        there = window.mapToGlobal(place)
        _xdotool("mousemove", str(there.x()), str(there.y()), "click", "5" if down else "4")

    @override
    def key(self, window: QWindow, key: Key, modifier: Modifier) -> None:
        names = {Modifier.ControlModifier: "ctrl", Modifier.ShiftModifier: "shift"}
        held = [name for flag, name in names.items() if modifier & flag]
        name = NAMES.get(key) or key.name.removeprefix("Key_")
        _xdotool("key", "+".join([*held, name if len(name) > 1 else name.lower()]))

    @override
    def letter(self, window: QWindow, letter: str) -> None:
        _xdotool("type", letter)


def _xdotool(*words: str) -> None:
    subprocess.run(["xdotool", *words], check=True)
    QTest.qWait(ARRIVAL)
