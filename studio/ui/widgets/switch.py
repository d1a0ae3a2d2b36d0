"""A switch for one yes-or-no option, painted in the colours of the theme."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from studio.ui import theme
from studio.ui.override import override


class Switch(QAbstractButton):
    """On or off; `toggled` tells of a change."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.space(5), theme.space(3))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track = QRectF(self.rect()).adjusted(3.5, 3.5, -3.5, -3.5)
        self._paint_track(painter, track)
        self._paint_knob(painter, track)
        if self.hasFocus():
            ring = QRectF(self.rect()).adjusted(1, 1, -1, -1)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.palette().accent, 2))
            painter.drawRoundedRect(ring, ring.height() / 2, ring.height() / 2)

    def _paint_track(self, painter: QPainter, track: QRectF) -> None:
        on = self.isChecked() and self.isEnabled()
        painter.setPen(QPen(theme.palette().accent if on else self._line(), 1))
        painter.setBrush(theme.palette().accent if on else theme.palette().raised)
        painter.drawRoundedRect(track, track.height() / 2, track.height() / 2)

    def _paint_knob(self, painter: QPainter, track: QRectF) -> None:
        radius = track.height() / 2 - 3
        x = track.right() - track.height() / 2 if self.isChecked() else track.left() + track.height() / 2
        on = self.isChecked() and self.isEnabled()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.palette().on_accent if on else self._line())
        painter.drawEllipse(QPointF(x, track.center().y()), radius, radius)

    def _line(self) -> QColor:
        return theme.palette().control if self.isEnabled() else theme.palette().border
