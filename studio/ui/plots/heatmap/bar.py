"""What the colours of the heat map mean, with the limits of fp16 on them."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.exponents import FP16
from studio.i18n import tr
from studio.text.numbers import in_percent, power_of_two
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.heatmap.colours import ALARM, HIGH, LEVELS, LOW, OVERFLOW, Colours, exponent_colours, share_colours
from studio.ui.plots.heatmap.image import picture


class ColourBar(QWidget):
    """Stands beside the map, as high as its cells: above, what is not finite; below it the ramp with its limits."""

    def __init__(self, below: int, parent: QWidget | None = None) -> None:
        """`below` is the height, in pixels, of what the map has under its cells."""
        super().__init__(parent)
        self._below = below
        self._shares = False
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(tr("Colours"))
        theme.notifier().changed.connect(self.update)
        self.show_shares(False)

    def show_shares(self, shares: bool) -> None:
        """Explain shares from 0 to 100 %, or powers of two with the limits of fp16."""
        self._shares = shares
        marks = tr(", ").join(text for _, text in self._marks())
        self.setAccessibleDescription(tr("Limits on the colours, from the top: {marks}").format(marks=marks))
        self.update()

    @override
    def sizeHint(self) -> QSize:
        metrics = QFontMetricsF(theme.caption_font())
        words = [tr("not finite"), *(text for _, text in (*self._marks(), *self._zones()))]
        widest = max(metrics.horizontalAdvance(text) for text in words)
        return QSize(round(theme.space(2.75) + widest) + 2, theme.space(12))

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme.caption_font())
        line = QFontMetricsF(theme.caption_font()).height()
        colours = share_colours() if self._shares else exponent_colours()
        self._paint_alarm(painter, colours, line)
        ramp = QRectF(0, 1.6 * line, theme.space(1.5), self.height() - self._below - 1.6 * line)
        painter.drawImage(ramp, picture(np.arange(LEVELS)[::-1, None], colours))
        painter.setPen(QPen(theme.palette().border, 1))
        painter.drawRect(ramp)
        for value, text in self._marks():
            self._paint_mark(painter, ramp, value, text)
        taken = [self._middle(ramp, value) for value, _ in self._marks()]
        for value, text in self._zones():
            # In a low window the name of a zone gives way to the limits.
            if all(abs(self._middle(ramp, value) - other) > 0.75 * line for other in taken):
                painter.setPen(theme.palette().muted)
                self._write(painter, ramp, value, text)
        painter.end()

    def _marks(self) -> list[tuple[float, str]]:
        if self._shares:
            return [(share, in_percent(f"{100 * share:.0f}")) for share in (1.0, 0.5, 0.0)]
        limits = [(OVERFLOW, f"{FP16.largest:,.0f}")]
        return limits + [(float(e), power_of_two(e)) for e in (FP16.smallest_normal, FP16.smallest)]

    def _zones(self) -> list[tuple[float, str]]:
        """The names of the zones, in the middle of each."""
        if self._shares:
            return []
        normal, subnormal = FP16.smallest_normal, FP16.smallest
        middles = ((OVERFLOW + normal) / 2, (normal + subnormal) / 2, (subnormal + LOW) / 2)
        return list(zip(middles, (tr("normal"), tr("subnormal"), tr("zero")), strict=True))

    def _paint_alarm(self, painter: QPainter, colours: Colours, line: float) -> None:
        painter.fillRect(QRectF(0, 0.1 * line, theme.space(1.5), 0.9 * line), QColor.fromRgba(int(colours[ALARM])))
        painter.setPen(theme.palette().muted)
        room = QRectF(theme.space(2.25), 0.0, self.width(), 1.1 * line)
        painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), tr("not finite"))

    def _paint_mark(self, painter: QPainter, ramp: QRectF, value: float, text: str) -> None:
        y = self._height_of(value, ramp)
        painter.setPen(QPen(theme.palette().text, 1))
        painter.drawLine(QLineF(ramp.left(), y, ramp.right() + theme.space(0.4), y))
        self._write(painter, ramp, value, text)

    def _write(self, painter: QPainter, ramp: QRectF, value: float, text: str) -> None:
        line = QFontMetricsF(theme.caption_font()).height()
        room = QRectF(theme.space(2.25), self._middle(ramp, value) - line / 2, self.width(), line)
        painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), text)

    def _middle(self, ramp: QRectF, value: float) -> float:
        """Return the height of the words at a value; the outermost stay within the bar."""
        half = QFontMetricsF(theme.caption_font()).height() / 2
        return min(max(self._height_of(value, ramp), ramp.top() + half), ramp.bottom() - half)

    def _height_of(self, value: float, ramp: QRectF) -> float:
        low, high = (0.0, 1.0) if self._shares else (LOW, HIGH)
        return ramp.bottom() - (value - low) / (high - low) * ramp.height()
