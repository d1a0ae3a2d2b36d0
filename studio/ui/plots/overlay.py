"""What is painted over a plot in pixels of its view: cursor, marks at the edges, and words while it is empty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QGraphicsObject, QStyleOptionGraphicsItem, QWidget

from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.curve import Marks
from studio.ui.plots.view import StepView
from studio.ui.widgets.empty import paint_message


def columns(pixels: Any, width: float, apart: float = 1.0) -> NDArray[np.float64]:
    """Merge pixel positions into columns `apart` pixels wide, so that a thousand marks in one column are one mark.

    The work is one pass over the positions in view; no column that holds a mark is lost.
    """
    inside = pixels[(pixels >= 0) & (pixels <= width)]
    return (np.unique(np.floor(inside / apart)) + 0.5) * apart


class Overlay(QGraphicsObject):
    """Lies over a view and is as large as it is; paints the cursor, or a message where there is nothing to see.

    `seams` are the steps after which the run was continued from a checkpoint.
    """

    def __init__(self, view: StepView) -> None:
        super().__init__(view)
        self.view = view
        self.step: int | None = None
        self.message = ""
        self.seams: NDArray[np.float64] = np.empty(0)
        self.setZValue(1000)
        view.sigResized.connect(lambda _: self.prepareGeometryChange())

    @override
    def boundingRect(self) -> QRectF:
        return QRectF(self.view.rect())

    @override
    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        if self.message:
            paint_message(painter, self.boundingRect(), self.message)
            return
        painter.setClipRect(self.boundingRect())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_content(painter)

    def height_of(self, value: float) -> float:
        """Return the pixel, from the top, of a value on the axis."""
        low, high = self.view.viewRange()[1]
        return float((high - value) / max(high - low, 1e-300) * self.view.height())

    def columns_of(self, steps: NDArray[np.float64], apart: float = 2.0) -> NDArray[np.float64]:
        """Return the columns of pixels, `apart` pixels wide, in which at least one of the steps lies."""
        return columns(self.view.pixel_of(steps), self.view.width(), apart)

    def _paint_content(self, painter: QPainter) -> None:
        """Paint the seams and the cursor; subclasses paint more, below or above them. Antialiasing is on."""
        painter.setPen(QPen(theme.palette().accent, 1, Qt.PenStyle.DashLine))
        for x in self.columns_of(self.seams + 0.5, 1.0):
            painter.drawLine(QLineF(x, 0, x, self.view.height()))
        if self.step is not None:
            x = float(self.view.pixel_of(self.step))
            painter.setPen(QPen(theme.palette().control, 1))
            painter.drawLine(QLineF(x, 0, x, self.view.height()))


class CurveOverlay(Overlay):
    """Paints a level, the points of the curves under the cursor, and marks for values that have no place on the axis.

    `level` is a value on the axis, such as the norm at which gradients are clipped; `points` are values on the axis
    at the cursor, with the name of their colour.
    """

    def __init__(self, view: StepView) -> None:
        super().__init__(view)
        self.level: float | None = None
        self.points: list[tuple[float, str]] = []
        self.marks: Sequence[Marks] = ()

    @override
    def _paint_content(self, painter: QPainter) -> None:
        if self.level is not None:
            y = self.height_of(self.level)
            painter.setPen(QPen(theme.palette().warning, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QLineF(0, y, self.view.width(), y))
        super()._paint_content(painter)
        self._paint_points(painter)
        for marks in self.marks:
            self._paint_triangles(painter, marks.not_finite, top=True)
            self._paint_triangles(painter, marks.not_positive, top=False)

    def _paint_points(self, painter: QPainter) -> None:
        colours = theme.palette()
        painter.setPen(QPen(colours.surface, 1.5))
        for value, colour in self.points:
            painter.setBrush(getattr(colours, colour))
            painter.drawEllipse(QPointF(float(self.view.pixel_of(self.step)), self.height_of(value)), 4.0, 4.0)

    def _paint_triangles(self, painter: QPainter, steps: NDArray[np.float64], top: bool) -> None:
        colours = theme.palette()
        half, tall = theme.space(0.55), theme.space(1)
        edge, tip = (0.0, float(tall)) if top else (self.view.height(), self.view.height() - tall)
        painter.setPen(QPen(colours.surface, 1))
        painter.setBrush(colours.bad if top else colours.warning)
        for x in self.columns_of(steps):
            painter.drawPolygon(QPolygonF([QPointF(x - half, edge), QPointF(x + half, edge), QPointF(x, tip)]))
