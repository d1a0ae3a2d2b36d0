"""The legend of a chart, above it rather than over it: a sample of each line and its name."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QLineF, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.i18n import tr
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.curve import Style
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.text import label


class Legend(QWidget):
    """Samples and names in one line."""

    def __init__(self, styles: Iterable[Style], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._row = hbox(spacing=1.5, parent=self)
        self._entries: dict[Style, QWidget] = {}
        for style in styles:
            self.set_shown(style, True)

    def set_shown(self, style: Style, shown: bool) -> None:
        """Explain a line or a mark, or no longer; one that never came up takes no room."""
        if shown and style not in self._entries:
            self._entries[style] = _entry(style)
            self._row.addWidget(self._entries[style])
        if style in self._entries:
            self._entries[style].setVisible(shown)

    def names(self) -> list[str]:
        """Return what is explained now."""
        return [tr(style.title) for style, entry in self._entries.items() if not entry.isHidden()]


def _entry(style: Style) -> QWidget:
    entry = QWidget()
    hbox(Sample(style), label(tr(style.title), "caption"), spacing=0.75, parent=entry)
    return entry


class Sample(QWidget):
    """A short piece of a line as the chart draws it."""

    def __init__(self, style: Style) -> None:
        super().__init__()
        self._style = style
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.notifier().changed.connect(self.update)

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.space(1.25 if self._style.mark else 2), theme.space(1.5))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = QRectF(self.rect()).center()
        if self._style.mark:
            self._paint_mark(painter, middle)
        else:
            self._paint_line(painter, middle)
        painter.end()

    def _paint_line(self, painter: QPainter, middle: QPointF) -> None:
        colour = getattr(theme.palette(), self._style.colour)
        dashed = self._style.dashed
        painter.setPen(QPen(colour, 1.0 if dashed else 2.0, Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine))
        painter.drawLine(QLineF(0, middle.y(), self.width(), middle.y()))
        if self._style.dots:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawEllipse(middle, 3.5, 3.5)

    def _paint_mark(self, painter: QPainter, middle: QPointF) -> None:
        half, tall = theme.space(0.55), theme.space(1)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(getattr(theme.palette(), self._style.colour))
        top = middle.y() - tall / 2
        corners = [QPointF(middle.x() - half, top), QPointF(middle.x() + half, top), QPointF(middle.x(), top + tall)]
        painter.drawPolygon(QPolygonF(corners))
