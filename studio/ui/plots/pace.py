"""The pace at which what arrives is drawn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

# What the user does is drawn at once; what arrives, at this pace. Six charts take some 8 ms of a core and hold Python's
# lock meanwhile, which a training of many small steps needs as often. So what the window's thread has worked since
# it drew last has to be at most this share of the time that has gone, unless that is long already.
PACE_MILLISECONDS = 100
SHARE = 0.05
LONGEST_SECONDS = 1.0


class Pace(QObject):
    """Calls `act` when asked to, as soon as the pace allows; what is asked meanwhile is not forgotten."""

    def __init__(self, act: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self._act = act
        self._behind = False
        self._acted, self._worked = -math.inf, time.thread_time()
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self._catch_up)

    def ask(self) -> None:
        """Act now, or as soon as the pace allows."""
        self._behind = True
        if not self._timer.isActive():
            self._catch_up()

    def forget(self) -> None:
        """No longer act on what was asked."""
        self._behind = False

    def _catch_up(self) -> None:
        if not self._behind:
            return
        if (rest := self._rest()) > 0:
            self._timer.start(math.ceil(1000 * rest))
            return
        self._behind = False
        self._acted, self._worked = time.monotonic(), time.thread_time()
        self._timer.start(PACE_MILLISECONDS)
        self._act()

    def _rest(self) -> float:
        """Return for how many seconds the training is still to have the processor for itself."""
        worked = time.thread_time() - self._worked
        return min(worked / SHARE, LONGEST_SECONDS) - (time.monotonic() - self._acted)
