"""The area of a chart that the mouse acts on: it pans and zooms the common range of steps."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal

from studio.ui.override import override
from studio.ui.plots.timeline import Timeline

WHEEL_STEP = 0.85


class StepView(pg.ViewBox):  # type: ignore[misc]  # pyqtgraph has no types
    """Wheel: zoom at the pointer. Drag: pan. Double click: fit. Over the left axis both act on the values alone."""

    values_moved = Signal()
    values_released = Signal()

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self._timeline = timeline
        self.disableAutoRange()
        self.setMouseEnabled(x=False, y=True)

    def step_at(self, x: float) -> float:
        """Return the step at a pixel counted from the left edge."""
        place = self._timeline.first + x / max(1.0, float(self.width())) * self._timeline.width
        return float(self._timeline.ruler.steps(place))

    def pixel_of(self, step: Any) -> Any:
        """Return the pixels at which steps (a number or an array) lie, from the left edge."""
        return (self._timeline.ruler.places(step) - self._timeline.first) / self._timeline.width * self.width()

    @override
    def wheelEvent(self, ev: Any, axis: int | None = None) -> None:
        if axis == 1:
            super().wheelEvent(ev, axis=1)
            self.values_moved.emit()
            return
        factor = WHEEL_STEP ** (ev.delta() / 120)
        at = self._timeline.newest if self._timeline.whole and factor > 1 else self.step_at(ev.pos().x())
        self._timeline.zoom(factor, at)
        ev.accept()

    @override
    def mouseDragEvent(self, ev: Any, axis: int | None = None) -> None:
        if ev.button() != Qt.MouseButton.LeftButton:
            ev.ignore()
            return
        if axis == 1:
            super().mouseDragEvent(ev, axis=1)
            self.values_moved.emit()
            return
        ev.accept()
        self._timeline.pan((ev.lastPos().x() - ev.pos().x()) / max(1.0, self.width()))

    @override
    def mouseClickEvent(self, ev: Any) -> None:
        if ev.double():
            ev.accept()
            self.values_released.emit()
            self._timeline.fit()
