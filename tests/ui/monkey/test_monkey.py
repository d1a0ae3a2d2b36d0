"""When the monkey acts again."""

from __future__ import annotations

import random
from unittest.mock import create_autospec

from PySide6.QtCore import QCoreApplication, QEventLoop
from pytestqt.qtbot import QtBot

from tests.ui.monkey.monkey import Monkey
from tests.ui.monkey.sandbox import Sandbox
from tests.ui.monkey.watch import Watch


class Slow(Monkey):
    """Its first action handles events for a while, as QTest does, and then waits in a loop, as a menu does."""

    def __init__(self) -> None:
        super().__init__(3, random.Random(0), create_autospec(Sandbox), create_autospec(Watch))
        self.done: list[str] = []
        self.loop = QEventLoop()

    def _do_next(self) -> None:
        self.done.append("begins")
        if len(self.done) > 1:
            self.loop.quit()
            return
        self._timer.start(0)
        QCoreApplication.processEvents()
        self.done.append("waits")
        self.loop.exec()
        self.done.append("ends")


def test_an_action_that_is_slow_is_not_interrupted_and_one_that_waits_is(qtbot: QtBot) -> None:
    monkey = Slow()
    monkey._timer.start(0)
    qtbot.waitUntil(lambda: "ends" in monkey.done)
    monkey._timer.stop()
    assert monkey.done == ["begins", "waits", "begins", "ends"]
