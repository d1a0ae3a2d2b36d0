"""Painting of the exponent histogram and of the ruler of scales below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen, QPolygonF

from studio.exponents import Format, Histogram, Shares
from studio.i18n import tr
from studio.text import numbers
from studio.ui import theme
from studio.ui.plots.exponents.layout import FIRST_EXPONENT, LAST_EXPONENT, Layout
from studio.ui.plots.exponents.words import ZONES, zone_limits, zone_of

# Beyond so many decades below 100 % the axis ends; a bar of fewer entries has no height.
DECADES = 9
TICK_EVERY = 8
CENTRE = Qt.AlignmentFlag.AlignCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True, kw_only=True)
class ExponentPainter:
    """Paints one histogram at one loss scale.

    Attributes:
        scale: the one that is shown; `present` is the one that the numbers were recorded at.
        best: the exponents of the smallest and the largest of the best scales.
        curves: the shares at every power of two on the ruler.
        focused: whether the handle of the scale line has the keyboard.
    """

    painter: QPainter
    places: Layout
    histogram: Histogram
    fmt: Format
    scale: float
    present: float
    best: tuple[int, int] | None
    curves: Sequence[Shares]
    focused: bool

    def paint(self) -> None:
        """Draw everything."""
        self.painter.setFont(theme.caption_font())
        self.painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        self._paint_zones()
        self._paint_shares_axis()
        self._paint_bars()
        self._paint_exponents()
        self.painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_curves()
        self._paint_ruler()
        self._paint_scale_line()

    def _decades(self) -> int:
        """Decades on the axis of shares: down to one entry of all."""
        return min(DECADES, max(1, math.ceil(math.log10(max(self.histogram.total, 2)))))

    def _paint_zones(self) -> None:
        plot = self.places.plot
        limits = (float(FIRST_EXPONENT), *zone_limits(self.fmt), float(LAST_EXPONENT))
        for zone, low, high in zip(ZONES, limits[:-1], limits[1:], strict=True):
            low, high = max(low, FIRST_EXPONENT), min(high, LAST_EXPONENT)
            if high <= low:
                continue
            left, right = self.places.exponent_x(low), self.places.exponent_x(high)
            area = QRectF(left, plot.top(), right - left, plot.height())
            self.painter.fillRect(area, _tint(zone.colour, 0.0 if zone.key == "normal" else 0.09))
            if low > FIRST_EXPONENT:
                self.painter.setPen(QPen(_tint(zone.colour if zone.key != "normal" else "control", 0.55), 1))
                self.painter.drawLine(QLineF(round(left), area.top(), round(left), area.bottom()))

    def _paint_shares_axis(self) -> None:
        colours, plot, line, zeros = theme.palette(), self.places.plot, self.places.line, self.places.zeros
        decades = self._decades()
        fit = max(1, math.floor(plot.height() / (1.6 * line)))
        apart = max(2, math.ceil(decades / fit))
        for decade in range(0, decades, apart):
            y = plot.bottom() - (1 - decade / decades) * plot.height()
            self.painter.setPen(QPen(colours.grid, 1))
            self.painter.drawLine(QLineF(plot.left(), round(y), plot.right(), round(y)))
            self.painter.setPen(colours.muted)
            room = QRectF(0, y - line / 2, zeros.left() - theme.space(0.75), line)
            share = f"{10.0 ** (2 - decade):g}" if decade <= 4 else f"1e{2 - decade}"
            self.painter.drawText(room, int(RIGHT), numbers.in_percent(str(share)))
        self.painter.setPen(QPen(colours.control, 1))
        self.painter.drawLine(QLineF(zeros.left(), plot.bottom(), self.places.infinite.right(), plot.bottom()))

    def _paint_bars(self) -> None:
        places, plot, colours = self.places, self.places.plot, theme.palette()
        shift = math.log2(self.scale)
        gap = 1.0 if places.exponent_width >= 4 else 0.0
        for place, count in enumerate(self.histogram.counts):
            exponent = self.histogram.first + place + shift
            if not count or exponent + 1 <= FIRST_EXPONENT or exponent >= LAST_EXPONENT:
                continue
            left = max(places.exponent_x(exponent), plot.left())
            right = min(places.exponent_x(exponent + 1), plot.right())
            room = QRectF(left, plot.top(), right - left - gap, plot.height())
            self._paint_bar(room, count, getattr(colours, zone_of(exponent, self.fmt).colour))
        self._paint_bar(places.zeros, self.histogram.zeros, colours.series_6)
        self._paint_bar(places.infinite, self.histogram.non_finite, colours.bad)

    def _paint_bar(self, room: QRectF, count: int, colour: QColor) -> None:
        height = 0.0
        if count:  # logarithmic, one entry just above nothing
            height = max(2.0, (1 + math.log10(count / self.histogram.total) / self._decades()) * room.height())
        self.painter.fillRect(QRectF(room.left(), room.bottom() - height, room.width(), height), colour)

    def _paint_exponents(self) -> None:
        self.painter.setPen(theme.palette().muted)
        top = self.places.plot.bottom() + theme.space(0.25)
        for exponent in range(math.ceil(FIRST_EXPONENT / TICK_EVERY) * TICK_EVERY, LAST_EXPONENT, TICK_EVERY):
            self._label(self.places.exponent_x(exponent), top, numbers.power_of_two(exponent))
        self._label(self.places.zeros.center().x(), top, "0")
        self._label(self.places.infinite.center().x(), top, "∞")

    def _paint_curves(self) -> None:
        """The share that becomes zero and the share that overflows, at every scale, from 0 to 100 % of the ruler."""
        ruler, (low, high) = self.places.ruler, self.places.scales
        exponents = range(low, high + 1)
        for key, colour in (("zero", "series_6"), ("overflow", "bad")):
            heights = [ruler.bottom() - getattr(shares, key) * ruler.height() for shares in self.curves]
            points = [QPointF(self.places.scale_x(k), y) for k, y in zip(exponents, heights, strict=True)]
            self.painter.setPen(Qt.PenStyle.NoPen)
            self.painter.setBrush(_tint(colour, 0.35))
            self.painter.drawPolygon(QPolygonF([ruler.bottomLeft(), *points, ruler.bottomRight()]))
            self.painter.setPen(QPen(getattr(theme.palette(), colour), 1.25))
            self.painter.drawPolyline(QPolygonF(points))

    def _paint_ruler(self) -> None:
        colours = theme.palette()
        ruler, (low, high) = self.places.ruler, self.places.scales
        self.painter.setPen(QPen(colours.control, 1))
        self.painter.drawLine(QLineF(ruler.left(), ruler.bottom(), ruler.right(), ruler.bottom()))
        self._paint_best()
        self.painter.setPen(colours.muted)
        apart = TICK_EVERY * max(1, math.ceil((high - low) / 64))
        for exponent in range(math.ceil(low / apart) * apart, high + 1, apart):
            self._label(self.places.scale_x(exponent), ruler.bottom() + 2, numbers.power_of_two(exponent))
        words = QRectF(0, ruler.top(), ruler.left() - theme.space(0.75), ruler.height())
        self.painter.drawText(words, int(RIGHT | Qt.TextFlag.TextWordWrap), tr("lost at loss scale"))
        self._paint_present()

    def _paint_best(self) -> None:
        """A bar along the ruler under the best scales, as far as they are on it."""
        if self.best is None:
            return
        low, high = self.places.scales
        begin, end = max(self.best[0], low), min(self.best[1], high)
        if end < begin:
            return
        left, right = self.places.scale_x(begin - 0.35), self.places.scale_x(end + 0.35)
        thick, line, good = theme.space(0.5), self.places.line, theme.palette().good
        self.painter.setPen(Qt.PenStyle.NoPen)
        self.painter.setBrush(good)
        bar = QRectF(left, self.places.ruler.bottom() - thick / 2, right - left, thick)
        self.painter.drawRoundedRect(bar, thick / 2, thick / 2)
        self.painter.setPen(good)
        word = tr("best")
        if 2 * QFontMetricsF(self.painter.font()).horizontalAdvance(word) < right - left:
            # In the half of the bar that the scale line is not in.
            middle = (left + right) / 2
            edge = left if self.places.scale_x(math.log2(self.scale)) > middle else middle
            self.painter.drawText(QRectF(edge, bar.top() - line, middle - left, line), int(CENTRE), word)

    def _paint_present(self) -> None:
        """A triangle that points at the scale in use."""
        ruler, half = self.places.ruler, float(theme.space(0.5))
        x, y = self.places.scale_x(math.log2(self.present)), ruler.top()
        self.painter.setPen(QPen(theme.palette().control, 1, Qt.PenStyle.DotLine))
        self.painter.drawLine(QLineF(x, y, x, ruler.bottom()))
        self.painter.setPen(QPen(theme.palette().surface, 1))
        self.painter.setBrush(theme.palette().text)
        self.painter.drawPolygon(
            QPolygonF([QPointF(x - half, y - half), QPointF(x + half, y - half), QPointF(x, y + half)])
        )

    def _paint_scale_line(self) -> None:
        """The line to drag, with the scale written on its handle."""
        colours, places = theme.palette(), self.places
        x = places.scale_x(math.log2(self.scale))
        text = _scale_label(self.scale)
        wide = QFontMetricsF(self.painter.font()).horizontalAdvance(text) + theme.space(1.5)
        handle = QRectF(x - wide / 2, places.ruler.top() - places.line * 1.15, wide, places.line)
        handle.moveLeft(min(max(handle.left(), places.zeros.left()), places.width - wide - 1))
        self.painter.setPen(QPen(colours.accent, 2))
        self.painter.drawLine(QLineF(x, handle.bottom(), x, places.ruler.bottom() + 2))
        self.painter.setPen(QPen(colours.text if self.focused else colours.accent, 2 if self.focused else 1))
        self.painter.setBrush(colours.accent)
        self.painter.drawRoundedRect(handle, handle.height() / 2, handle.height() / 2)
        self.painter.setPen(colours.on_accent)
        self.painter.drawText(handle, int(CENTRE), text)

    def _label(self, x: float, top: float, text: str) -> None:
        wide = theme.space(6)
        self.painter.drawText(QRectF(x - wide / 2, top, wide, self.places.line), int(CENTRE), text)


def _scale_label(scale: float) -> str:
    exponent = math.log2(scale)
    return numbers.power_of_two(round(exponent)) if exponent == round(exponent) else numbers.brief(scale)


def _tint(name: str, strength: float) -> QColor:
    colour = QColor(getattr(theme.palette(), name))
    colour.setAlphaF(strength)
    return colour
