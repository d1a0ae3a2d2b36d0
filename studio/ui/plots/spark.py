"""A small curve without axes, on the time line of the charts."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.runner.series import MetricSeries
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.timeline import Timeline

SHADE = 0.16


class Spark(QWidget):
    """Draws a series from 0 to `top`, a dashed line at `level`, and ticks at the foot for the steps in `marked`."""

    def __init__(self, timeline: Timeline, colour: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._timeline, self._colour = timeline, colour
        self._series = MetricSeries()
        self.top = 1.0
        self.level: float | None = None
        self.marked: list[float] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        timeline.range_changed.connect(self.update)
        timeline.cursor_changed.connect(self.update)
        theme.notifier().changed.connect(self.update)

    def show_series(self, series: MetricSeries) -> None:
        """Draw another series, or the same with what it has become."""
        self._series = series
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.characters(8), theme.space(2.5))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colours = theme.palette()
        area = QRectF(self.rect()).adjusted(0.5, 1.5, -0.5, -1.5)
        painter.setPen(QPen(colours.grid, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        self._paint_curve(painter, area, getattr(colours, self._colour))
        if self.level is not None:
            painter.setPen(QPen(colours.muted, 1, Qt.PenStyle.DashLine))
            height = self._height(area, self.level)
            painter.drawLine(QPointF(area.left(), height), QPointF(area.right(), height))
        painter.setPen(QPen(colours.warning, 2))
        for step in self.marked:
            x = self._across(area, step)
            painter.drawLine(QPointF(x, area.bottom() - 4), QPointF(x, area.bottom()))
        if self._timeline.cursor is not None:
            painter.setPen(QPen(colours.control, 1))
            x = self._across(area, self._timeline.cursor)
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.end()

    def _paint_curve(self, painter: QPainter, area: QRectF, colour: QColor) -> None:
        first, last = self._timeline.ruler.steps(np.array([self._timeline.first, self._timeline.last]))
        x, y = self._series.reduced(first, last, max(1, int(area.width())))
        if not len(x):
            return
        points = [QPointF(self._across(area, at), self._height(area, value)) for at, value in zip(x, y, strict=True)]
        shade = QColor(colour)
        shade.setAlphaF(SHADE)
        foot = [QPointF(points[-1].x(), area.bottom()), QPointF(points[0].x(), area.bottom())]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shade)
        painter.drawPolygon(QPolygonF([*points, *foot]))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if len(points) == 1:  # a line through one point is nothing to see
            painter.setPen(QPen(colour, 4, c=Qt.PenCapStyle.RoundCap))
            painter.drawPoint(points[0])
        painter.setPen(QPen(colour, 1.25))
        painter.drawPolyline(QPolygonF(points))

    def _across(self, area: QRectF, step: float) -> float:
        place = float(self._timeline.ruler.places(step))
        return area.left() + (place - self._timeline.first) / self._timeline.width * area.width()

    def _height(self, area: QRectF, value: float) -> float:
        share = float(np.clip(value / self.top, 0, 1)) if self.top > 0 else 0.0
        return area.bottom() - share * area.height()
