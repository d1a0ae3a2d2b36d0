"""The pace at which what arrives is drawn."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

# Six charts cost some 8 ms of a core, which is the training's otherwise. What the user does is drawn at once.
PACE_MILLISECONDS = 100


class Pace(QObject):
    """Calls `act` when asked to, at most once every `PACE_MILLISECONDS`; what is asked meanwhile is not forgotten."""

    def __init__(self, act: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self._act = act
        self._behind = False
        self._timer = QTimer(self, singleShot=True, interval=PACE_MILLISECONDS)
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
        if self._behind:
            self._behind = False
            self._timer.start()
            self._act()
