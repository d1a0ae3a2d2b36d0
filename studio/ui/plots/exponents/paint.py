"""Painting of the exponent histogram and of the ruler of scales below it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen, QPolygonF

from studio.i18n import tr
from studio.text import numbers
from studio.ui import theme
from studio.ui.plots.exponents.layout import FIRST_EXPONENT, LAST_EXPONENT, Layout
from studio.ui.plots.exponents.words import ZONES, zone_limits, zone_of

if TYPE_CHECKING:
    from studio.ui.plots.exponents.view import ExponentView

# Beyond so many decades below 100 % the axis ends; a bar of fewer entries has no height.
DECADES = 9
TICK_EVERY = 8
CENTRE = Qt.AlignmentFlag.AlignCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


def paint(painter: QPainter, view: ExponentView, places: Layout) -> None:
    """Draw everything."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    _paint_zones(painter, view, places)
    _paint_shares_axis(painter, view, places)
    _paint_bars(painter, view, places)
    _paint_exponents(painter, places)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    _paint_curves(painter, view, places)
    _paint_ruler(painter, view, places)
    _paint_scale_line(painter, view, places)


def caption_font() -> QFont:
    """Return the font of all words within the picture."""
    font = QFont(theme.application().font())
    font.setPointSizeF(theme.points(theme.CAPTION))
    return font


def _decades(view: ExponentView) -> int:
    """Decades on the axis of shares: down to one entry of all."""
    total = view.histogram.total if view.histogram else 1
    return min(DECADES, max(1, math.ceil(math.log10(max(total, 2)))))


def _height(view: ExponentView, count: float, room: float) -> float:
    """Pixels of a bar of so many entries: logarithmic, one entry just above nothing."""
    if not count or view.histogram is None:
        return 0.0
    decades = _decades(view)
    place = 1 + math.log10(count / view.histogram.total) / decades
    return max(2.0, place * room)


def _paint_zones(painter: QPainter, view: ExponentView, places: Layout) -> None:
    limits = (float(FIRST_EXPONENT), *zone_limits(view.fmt), float(LAST_EXPONENT))
    for zone, low, high in zip(ZONES, limits[:-1], limits[1:], strict=True):
        low, high = max(low, FIRST_EXPONENT), min(high, LAST_EXPONENT)
        if high <= low:
            continue
        left, right = places.exponent_x(low), places.exponent_x(high)
        area = QRectF(left, places.plot.top(), right - left, places.plot.height())
        painter.fillRect(area, _tint(zone.colour, 0.0 if zone.key == "normal" else 0.09))
        if low > FIRST_EXPONENT:
            painter.setPen(QPen(_tint(zone.colour if zone.key != "normal" else "control", 0.55), 1))
            painter.drawLine(QLineF(round(left), area.top(), round(left), area.bottom()))


def _paint_shares_axis(painter: QPainter, view: ExponentView, places: Layout) -> None:
    colours = theme.palette()
    decades = _decades(view)
    fit = max(1, math.floor(places.plot.height() / (1.6 * places.line)))
    apart = max(2, math.ceil(decades / fit))
    for decade in range(0, decades, apart):
        y = places.plot.bottom() - (1 - decade / decades) * places.plot.height()
        painter.setPen(QPen(colours.grid, 1))
        painter.drawLine(QLineF(places.plot.left(), round(y), places.plot.right(), round(y)))
        painter.setPen(colours.muted)
        room = QRectF(0, y - places.line / 2, places.zeros.left() - theme.space(0.75), places.line)
        painter.drawText(room, int(RIGHT), _percent(decade))
    painter.setPen(QPen(colours.control, 1))
    painter.drawLine(QLineF(places.zeros.left(), places.plot.bottom(), places.infinite.right(), places.plot.bottom()))


def _paint_bars(painter: QPainter, view: ExponentView, places: Layout) -> None:
    histogram = view.histogram
    if histogram is None:
        return
    painter.setPen(Qt.PenStyle.NoPen)
    shift = math.log2(view.scale)
    gap = 1.0 if places.exponent_width >= 4 else 0.0
    for place, count in enumerate(histogram.counts):
        exponent = histogram.first + place + shift
        if not count or exponent + 1 <= FIRST_EXPONENT or exponent >= LAST_EXPONENT:
            continue
        left = max(places.exponent_x(exponent), places.plot.left())
        right = min(places.exponent_x(exponent + 1), places.plot.right())
        colour = getattr(theme.palette(), zone_of(exponent, view.fmt).colour)
        _paint_bar(
            painter, QRectF(left, places.plot.top(), right - left - gap, places.plot.height()), view, count, colour
        )
    colours = theme.palette()
    _paint_bar(painter, places.zeros, view, histogram.zeros, colours.series_6)
    _paint_bar(painter, places.infinite, view, histogram.non_finite, colours.bad)


def _paint_bar(painter: QPainter, room: QRectF, view: ExponentView, count: int, colour: QColor) -> None:
    height = _height(view, count, room.height())
    painter.fillRect(QRectF(room.left(), room.bottom() - height, room.width(), height), colour)


def _paint_exponents(painter: QPainter, places: Layout) -> None:
    painter.setPen(theme.palette().muted)
    top = places.plot.bottom() + theme.space(0.25)
    for exponent in range(math.ceil(FIRST_EXPONENT / TICK_EVERY) * TICK_EVERY, LAST_EXPONENT, TICK_EVERY):
        _label(painter, places.exponent_x(exponent), top, places.line, numbers.power_of_two(exponent))
    _label(painter, places.zeros.center().x(), top, places.line, "0")
    _label(painter, places.infinite.center().x(), top, places.line, "∞")


def _paint_curves(painter: QPainter, view: ExponentView, places: Layout) -> None:
    """The share that becomes zero and the share that overflows, at every scale, from 0 to 100 % of the ruler."""
    low, high = places.scales
    ruler = places.ruler
    painter.setPen(Qt.PenStyle.NoPen)
    for key, colour in (("zero", "series_6"), ("overflow", "bad")):
        heights = [getattr(shares, key) for shares in view.curves]
        points = [
            QPointF(places.scale_x(low + place), ruler.bottom() - share * ruler.height())
            for place, share in enumerate(heights)
        ]
        painter.setBrush(_tint(colour, 0.35))
        corners = [QPointF(ruler.left(), ruler.bottom()), *points, QPointF(places.scale_x(high), ruler.bottom())]
        painter.drawPolygon(QPolygonF(corners))
        painter.setPen(QPen(getattr(theme.palette(), colour), 1.25))
        painter.drawPolyline(QPolygonF(points))
        painter.setPen(Qt.PenStyle.NoPen)


def _paint_ruler(painter: QPainter, view: ExponentView, places: Layout) -> None:
    colours = theme.palette()
    ruler, (low, high) = places.ruler, places.scales
    painter.setPen(QPen(colours.control, 1))
    painter.drawLine(QLineF(ruler.left(), ruler.bottom(), ruler.right(), ruler.bottom()))
    _paint_best(painter, view, places)
    painter.setPen(colours.muted)
    apart = TICK_EVERY * max(1, math.ceil((high - low) / 64))
    for exponent in range(math.ceil(low / apart) * apart, high + 1, apart):
        _label(painter, places.scale_x(exponent), ruler.bottom() + 2, places.line, numbers.power_of_two(exponent))
    words = QRectF(0, ruler.top(), ruler.left() - theme.space(0.75), ruler.height())
    painter.drawText(words, int(RIGHT | Qt.TextFlag.TextWordWrap), tr("lost at loss scale"))
    _paint_present(painter, view, places)


def _paint_best(painter: QPainter, view: ExponentView, places: Layout) -> None:
    """A bar along the ruler under the best scales, as far as they are on it."""
    if view.best is None:
        return
    low, high = places.scales
    begin, end = max(view.best[0], low), min(view.best[1], high)
    if end < begin:
        return
    left, right = places.scale_x(begin - 0.35), places.scale_x(end + 0.35)
    thick = theme.space(0.5)
    good = theme.palette().good
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(good)
    bar = QRectF(left, places.ruler.bottom() - thick / 2, right - left, thick)
    painter.drawRoundedRect(bar, thick / 2, thick / 2)
    painter.setPen(good)
    word = tr("best")
    if 2 * QFontMetricsF(painter.font()).horizontalAdvance(word) < right - left:
        # In the half of the bar that the scale line is not in.
        middle = (left + right) / 2
        edge = left if places.scale_x(math.log2(view.scale)) > middle else middle
        painter.drawText(QRectF(edge, bar.top() - places.line, middle - left, places.line), int(CENTRE), word)


def _paint_present(painter: QPainter, view: ExponentView, places: Layout) -> None:
    """A triangle that points at the scale in use."""
    x, y, half = places.scale_x(math.log2(view.present)), places.ruler.top(), float(theme.space(0.5))
    painter.setPen(QPen(theme.palette().control, 1, Qt.PenStyle.DotLine))
    painter.drawLine(QLineF(x, y, x, places.ruler.bottom()))
    painter.setPen(QPen(theme.palette().surface, 1))
    painter.setBrush(theme.palette().text)
    painter.drawPolygon(QPolygonF([QPointF(x - half, y - half), QPointF(x + half, y - half), QPointF(x, y + half)]))


def _paint_scale_line(painter: QPainter, view: ExponentView, places: Layout) -> None:
    """The line to drag, with the scale written on its handle."""
    colours = theme.palette()
    x = places.scale_x(math.log2(view.scale))
    text = _scale_label(view.scale)
    wide = QFontMetricsF(painter.font()).horizontalAdvance(text) + theme.space(1.5)
    handle = QRectF(x - wide / 2, places.ruler.top() - places.line * 1.15, wide, places.line)
    handle.moveLeft(min(max(handle.left(), places.zeros.left()), view.width() - wide - 1))
    painter.setPen(QPen(colours.accent, 2))
    painter.drawLine(QLineF(x, handle.bottom(), x, places.ruler.bottom() + 2))
    painter.setPen(QPen(colours.text if view.hasFocus() else colours.accent, 2 if view.hasFocus() else 1))
    painter.setBrush(colours.accent)
    painter.drawRoundedRect(handle, handle.height() / 2, handle.height() / 2)
    painter.setPen(colours.on_accent)
    painter.drawText(handle, int(CENTRE), text)


def _label(painter: QPainter, x: float, top: float, line: float, text: str) -> None:
    wide = theme.space(6)
    painter.drawText(QRectF(x - wide / 2, top, wide, line), int(CENTRE), text)


def _scale_label(scale: float) -> str:
    exponent = math.log2(scale)
    return numbers.power_of_two(round(exponent)) if exponent == round(exponent) else numbers.brief(scale)


def _percent(decade: int) -> str:
    return f"{10.0 ** (2 - decade):g} %" if decade <= 4 else f"1e{2 - decade} %"


def _tint(name: str, strength: float) -> QColor:
    colour = QColor(getattr(theme.palette(), name))
    colour.setAlphaF(strength)
    return colour
