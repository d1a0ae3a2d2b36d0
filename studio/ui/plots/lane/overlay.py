"""What the event lane paints: its rows, and one mark for every event in them."""

from __future__ import annotations

from PySide6.QtCore import QLineF, QPointF
from PySide6.QtGui import QPainter, QPen, QPolygonF
from typing_extensions import override

from studio.i18n import tr
from studio.ui import theme
from studio.ui.plots.axes import Log2Axis, ValueAxis
from studio.ui.plots.lane.events import GROWTH, ROWS, SKIPPED, VALIDATION, VERDICT, LaneMarks, Steps
from studio.ui.plots.overlay import Overlay
from studio.ui.plots.view import StepView


class LaneAxis(ValueAxis):
    """Names the rows; as wide as the axis of the scale above it, so that the steps stand in line."""

    widest = Log2Axis.widest

    def __init__(self) -> None:
        super().__init__()
        self.setGrid(False)
        self.setTicks([[(row + 0.5, tr(name)) for row, name in enumerate(ROWS)]])


class LaneOverlay(Overlay):
    """Paints the marks of each row; marks that fall on one pixel merge, none vanishes."""

    def __init__(self, view: StepView) -> None:
        super().__init__(view)
        self.marks = LaneMarks()

    @override
    def _paint_content(self, painter: QPainter) -> None:
        super()._paint_content(painter)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QPen(theme.palette().grid, 1))
        for row in range(1, len(ROWS)):
            painter.drawLine(QLineF(0, self.height_of(row), self.view.width(), self.height_of(row)))
        self._paint_ticks(painter, self.tick_pixels(), "bad")
        self._paint_ticks(painter, self.columns_of(self.marks.floor), "warning", 3)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_growths(painter)
        self._paint_diamonds(painter, VALIDATION, self.marks.validations, "series_2")
        self._paint_diamonds(painter, VERDICT, self.marks.harmless, "good")
        self._paint_diamonds(painter, VERDICT, self.marks.harmful, "bad")

    def tick_pixels(self) -> Steps:
        """Return the columns of pixels that hold at least one skipped step."""
        return self.columns_of(self.marks.skipped, 1.0)

    def _paint_ticks(self, painter: QPainter, pixels: Steps, colour: str, width: int = 1) -> None:
        """Skips; those that found the scale at its floor stand on a foot."""
        top, bottom = self.height_of(SKIPPED + (0.85 if width == 1 else 0.3)), self.height_of(SKIPPED + 0.12)
        painter.setPen(QPen(getattr(theme.palette(), colour), width))
        painter.drawLines([QLineF(x, top, x, bottom) for x in pixels])

    def _paint_growths(self, painter: QPainter) -> None:
        middle, half = self.height_of(GROWTH + 0.5), theme.space(0.5)
        painter.setPen(QPen(theme.palette().surface, 1))
        painter.setBrush(theme.palette().series_4)
        for x in self.columns_of(self.marks.growths):
            corners = (QPointF(x - half, middle + half), QPointF(x + half, middle + half), QPointF(x, middle - half))
            painter.drawPolygon(QPolygonF(corners))

    def _paint_diamonds(self, painter: QPainter, row: int, steps: Steps, colour: str) -> None:
        middle, half = self.height_of(row + 0.5), theme.space(0.45)
        painter.setPen(QPen(theme.palette().surface, 1))
        painter.setBrush(getattr(theme.palette(), colour))
        for x in self.columns_of(steps):
            corners = (QPointF(x, middle - half), QPointF(x + half, middle), QPointF(x, middle + half))
            painter.drawPolygon(QPolygonF([*corners, QPointF(x - half, middle)]))
