"""The legend of a chart, above it rather than over it: a sample of each line and its name."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QLineF, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget
from typing_extensions import override

from studio.i18n import tr
from studio.ui import theme
from studio.ui.plots.curve import Style
from studio.ui.widgets.text import label


class Legend(QWidget):
    """Samples and names in one line; `None` stands for the mark of values that are not finite."""

    def __init__(self, styles: Sequence[Style], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.space(0.75))
        for style in styles:
            self._add(row, Sample(style), tr(style.title))
        self._not_finite = (Sample(None), label(tr("not finite"), "caption"))
        for widget in self._not_finite:
            row.addWidget(widget)
        self.show_not_finite(False)

    def show_not_finite(self, shown: bool) -> None:
        """Explain the mark at the top edge, once there is one."""
        for widget in self._not_finite:
            widget.setVisible(shown)

    def _add(self, row: QHBoxLayout, sample: Sample, name: str) -> None:
        row.addWidget(sample)
        row.addWidget(label(name, "caption"))
        row.addSpacing(theme.space(0.75))


class Sample(QWidget):
    """A short piece of a line as the chart draws it."""

    def __init__(self, style: Style | None) -> None:
        super().__init__()
        self._style = style
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.notifier().changed.connect(self.update)

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.space(2 if self._style else 1.25), theme.space(1.5))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = QRectF(self.rect()).center()
        if self._style is None:
            self._paint_mark(painter, middle)
        else:
            self._paint_line(painter, self._style, middle)
        painter.end()

    def _paint_line(self, painter: QPainter, style: Style, middle: QPointF) -> None:
        colour = getattr(theme.palette(), style.colour)
        painter.setPen(QPen(colour, 2.0))
        painter.drawLine(QLineF(0, middle.y(), self.width(), middle.y()))
        if style.dots:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawEllipse(middle, 3.5, 3.5)

    def _paint_mark(self, painter: QPainter, middle: QPointF) -> None:
        half, tall = theme.space(0.55), theme.space(1)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.palette().bad)
        top = middle.y() - tall / 2
        corners = [QPointF(middle.x() - half, top), QPointF(middle.x() + half, top), QPointF(middle.x(), top + tall)]
        painter.drawPolygon(QPolygonF(corners))
