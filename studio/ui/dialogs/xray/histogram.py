"""The lengths of the rows in tokens, against the longest length that was set."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.i18n import sentences, tr, trn
from studio.text.numbers import share_text
from studio.ui import theme
from studio.ui.override import override

if TYPE_CHECKING:
    from studio.engine.data.xray import LengthHistogram


class LengthChart(QWidget):
    """A bar for each range of lengths, on a logarithmic axis; rows that are cut have the colour of a warning."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: LengthHistogram | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.notifier().changed.connect(self.update)

    def show_lengths(self, histogram: LengthHistogram) -> None:
        """Show other rows."""
        self._shown = histogram
        self.setAccessibleName(tr("Lengths of the rows"))
        self.setAccessibleDescription(lengths_text(histogram))
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(theme.characters(40), theme.space(15))

    @override
    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip and self._shown is not None:
            QToolTip.showText(event.globalPos(), self._words_at(event.pos().x()), self)
            return True
        return super().event(event)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        if self._shown is None:
            return
        painter = QPainter(self)
        painter.setFont(theme.caption_font())
        self._paint_bars(painter, self._shown)
        self._paint_axis(painter, self._shown)
        self._paint_limit(painter, self._shown)
        painter.end()

    def _paint_bars(self, painter: QPainter, shown: LengthHistogram) -> None:
        room, colours = self._room(), theme.palette()
        tallest = max(max(map(sum, zip(shown.kept, shown.cut, strict=True)), default=0), 1)
        for (low, high), kept, cut in zip(pairwise(shown.edges), shown.kept, shown.cut, strict=True):
            left, right = self._x(low), self._x(high)
            bottom = room.bottom()
            for count, colour in ((kept, colours.accent), (cut, colours.warning)):
                # A single row among many thousands still has a line that can be seen.
                height = max(2.0, room.height() * count / tallest) if count else 0.0
                painter.fillRect(QRectF(left, bottom - height, max(1.0, right - left - 1.0), height), colour)
                bottom -= height

    def _paint_axis(self, painter: QPainter, shown: LengthHistogram) -> None:
        room, colours = self._room(), theme.palette()
        painter.setPen(colours.border)
        painter.drawLine(room.bottomLeft(), room.bottomRight())
        painter.setPen(colours.muted)
        metrics, right = QFontMetricsF(painter.font()), -1.0
        for exponent in range(0, 32, 2):
            if not shown.edges[0] <= 2**exponent <= shown.edges[-1]:
                continue
            words = f"{2**exponent:,}"
            width = metrics.horizontalAdvance(words)
            left = min(max(self._x(2**exponent) - width / 2, 0.0), self.width() - width)
            if left > right:
                painter.drawText(QPointF(left, self.height() - metrics.descent()), words)
                right = left + width + theme.space(1)

    def _paint_limit(self, painter: QPainter, shown: LengthHistogram) -> None:
        room, colours = self._room(), theme.palette()
        at = self._x(shown.max_length)
        painter.setPen(QPen(colours.text, 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(at, 0), room.bottomLeft() + QPointF(at, 0))
        words = tr("cut at {tokens}").format(tokens=f"{shown.max_length:,}")
        metrics = QFontMetricsF(painter.font())
        width = metrics.horizontalAdvance(words)
        gap = theme.space(0.5)
        left = at + gap if at + gap + width <= self.width() else at - gap - width
        painter.setPen(colours.text)
        painter.drawText(QPointF(left, metrics.ascent()), words)

    def _room(self) -> QRectF:
        """Where the bars stand: the numbers of the axis are below, the words on the limit above."""
        line = QFontMetricsF(theme.caption_font()).height()
        return QRectF(0, line, self.width(), self.height() - 2 * line - theme.space(0.25))

    def _x(self, length: int) -> float:
        edges = self._shown.edges if self._shown else (1, 2)
        first = math.log2(max(edges[1] / 2, 1.0))
        share = (math.log2(max(length, 1)) - first) / max(math.log2(edges[-1]) - first, 1e-9)
        return min(max(share, 0.0), 1.0) * self.width()

    def _words_at(self, x: int) -> str:
        assert self._shown is not None
        for (low, high), kept, cut in zip(pairwise(self._shown.edges), self._shown.kept, self._shown.cut, strict=True):
            if x < self._x(high):
                words = trn("{low} to {high} tokens: {rows} row", "{low} to {high} tokens: {rows} rows", kept + cut)
                return words.format(low=f"{low:,}", high=f"{high - 1:,}", rows=f"{kept + cut:,}")
        return ""


def lengths_text(shown: LengthHistogram) -> str:
    """Return in words what the histogram shows."""
    rows = sum(shown.kept) + sum(shown.cut)
    if not rows:
        return tr("No row has a length: all are skipped, and not because they are too long.")
    words = tr("Half of the rows have up to {median} tokens, the longest has {longest}.")
    whole = words.format(median=f"{shown.median:,}", longest=f"{shown.longest:,}")
    if not any(shown.cut):
        return sentences((whole, tr("None is longer than {limit}.").format(limit=f"{shown.max_length:,}")))
    words = tr(
        "{count} ({share}) are longer than {limit}: they lose their end or, where no answer is left, are skipped."
    )
    cut = sum(shown.cut)
    more = words.format(count=f"{cut:,}", share=share_text(cut, rows), limit=f"{shown.max_length:,}")
    return sentences((whole, more))
