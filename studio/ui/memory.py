"""Python's cyclic garbage collector, kept on the main thread: run by a worker, it would free Qt objects under Qt."""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

PERIOD_MILLISECONDS = 1000


class MainThreadCollector(QObject):
    """Switches automatic collection off and collects from a timer, each generation when its threshold is reached."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        gc.disable()
        timer = QTimer(self, interval=PERIOD_MILLISECONDS)
        timer.timeout.connect(self.collect)
        timer.start()

    def collect(self) -> None:
        """Collect the oldest generation that is due."""
        for generation in (2, 1, 0):
            if gc.get_count()[generation] > gc.get_threshold()[generation]:
                gc.collect(generation)
                return
