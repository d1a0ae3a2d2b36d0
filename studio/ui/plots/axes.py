"""Axes in the colours and the type of the window: few ticks, round numbers, one grid line each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetricsF, QPen

from studio.runner.ruler import Measure
from studio.text import numbers
from studio.ui import theme
from studio.ui.override import override

# Below the view itself (-100), so that grid lines lie under the curves.
BEHIND = -200
MOST_DIGITS = 17  # a float has no more
Ticks = list[tuple[float | None, list[float]]]


class Axis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph has no types
    """An axis whose ticks keep their distance: at least `gap` pixels, and at least `least` in value."""

    least = 0.0

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation, maxTickLength=0)
        self.enableAutoSIPrefix(False)
        self.setStyle(tickAlpha=255, maxTickLevel=0, tickTextOffset=theme.space(0.75))
        self.gap = theme.space(3.5) if orientation == "left" else theme.characters(11)
        self.apply_theme()

    def apply_theme(self) -> None:
        """Take colours and font from the theme."""
        colours = theme.palette()
        font = theme.caption_font()
        self.setTickFont(font)
        self.setTextPen(colours.muted)
        self.setTickPen(pg.mkPen(colours.grid))
        self.setPen(pg.mkPen(colours.border) if self.orientation == "bottom" else QPen(Qt.PenStyle.NoPen))
        self.setStyle(tickTextHeight=round(QFontMetricsF(font).height()))
        self.picture = None

    def text_width(self, text: str) -> int:
        """Return the width that a tick label needs, with its distance to the axis."""
        return round(QFontMetricsF(self.style["tickFont"]).horizontalAdvance(text)) + theme.space(1.25)

    @override
    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:
        return [(max(self.least, round_up((maxVal - minVal) * self.gap / max(size, 1.0))), 0.0)]


# Distances of ticks on an axis of time, in seconds; longer ones are whole days.
_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY = 86400.0


class StepAxis(Axis):
    """What the steps are measured by: numbers of steps or updates, tokens, or training time."""

    least = 1.0

    def __init__(self) -> None:
        super().__init__("bottom")
        self.measure: Measure = "step"

    @override
    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:
        found = super().tickSpacing(minVal, maxVal, size)
        if self.measure != "seconds":
            return found
        wanted = (maxVal - minVal) * self.gap / max(size, 1.0)
        return [(next((float(time) for time in _TIMES if time >= wanted), _DAY * round_up(wanted / _DAY)), 0.0)]

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [self._label(value, spacing) if value >= 0 else "" for value in values]

    def _label(self, value: float, spacing: float) -> str:
        if self.measure == "seconds":
            return numbers.elapsed_text(value)
        if self.measure == "tokens" and spacing >= 1e4:
            return f"{value / 1e6:g} M"
        return f"{value:,.0f}"


class ValueAxis(Axis):
    """A linear axis. `forward` takes values to the axis; here they stay what they are."""

    widest = "0.0000"

    def __init__(self) -> None:
        super().__init__("left")
        self.setGrid(255)
        self.setWidth(self.text_width(self.widest))

    def forward(self, values: Any) -> Any:
        """Return where values (an array) lie on the axis; not finite where they cannot be shown."""
        return values

    @override
    def tickValues(self, minVal: float, maxVal: float, size: float) -> Ticks:
        """Leave out the ticks whose label would be cut off at either end."""
        edge = 0.5 * self.style["tickTextHeight"] * (maxVal - minVal) / max(size, 1.0)
        levels = self.candidates(minVal, maxVal, size)
        return [(spacing, [v for v in values if minVal + edge <= v <= maxVal - edge]) for spacing, values in levels]

    def candidates(self, low: float, high: float, size: float) -> Ticks:
        """Return where ticks may stand between two values, `size` pixels apart."""
        ticks: Ticks = super().tickValues(low, high, size)
        return ticks

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        largest = max((abs(value) for value in values), default=0.0)
        if largest < 1e-2:
            near_zero = spacing / 2
            return _told_apart(values, lambda v, d: numbers.scientific(v, d) if abs(v) > near_zero else "0")
        decimals = max(0, -math.floor(math.log10(spacing))) if spacing < 1 else 0
        return [f"{value:,.{decimals}f}" for value in values]


class Log2Axis(ValueAxis):
    """A logarithmic axis on which every tick is a power of two."""

    widest = "2¹²⁶ (8.51e37)"
    least = 1.0

    @override
    def forward(self, values: Any) -> Any:
        return _logarithm(values, 2.0)

    @override
    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:
        wanted = (maxVal - minVal) * self.gap / max(size, 1.0)
        return [(2.0 ** max(0, math.ceil(math.log2(max(wanted, 1e-9)))), 0.0)]

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [self._label(round(value)) for value in values]

    def _label(self, exponent: int) -> str:
        if not -1000 < exponent < 1000:
            return numbers.power_of_two(exponent)
        value = 2.0**exponent
        plain = f"{value:,.0f}" if 0 <= exponent < 20 else numbers.scientific(value)
        return f"{numbers.power_of_two(exponent)} ({plain})"


class ScaleAxis(ValueAxis):
    """A linear axis as wide as the logarithmic one of the gradient scale, so that what stands below is in line."""

    widest = Log2Axis.widest


class Log10Axis(ValueAxis):
    """A logarithmic axis: decades, with 1, 2, 5 or finer where few decades are in view."""

    @override
    def forward(self, values: Any) -> Any:
        return _logarithm(values, 10.0)

    @override
    def candidates(self, low: float, high: float, size: float) -> Ticks:
        room = max(2.0, size / self.gap)
        decades = high - low
        if decades >= room / 2:
            apart = math.ceil(decades / room)
            return [(None, [float(k) for k in range(math.ceil(low / apart) * apart, math.floor(high) + 1, apart)])]
        if decades >= room / 7:
            mantissas = (1.0, 2.0, 5.0) if decades < room / 3 else (1.0, 3.0)
            exponents = range(math.floor(low), math.ceil(high) + 1)
            return [(None, [k + math.log10(mantissa) for k in exponents for mantissa in mantissas])]
        bottom, top = 10.0**low, 10.0**high
        spacing = round_up((top - bottom) / room)
        counts = range(max(1, math.ceil(bottom / spacing)), math.floor(top / spacing) + 1)
        return [(None, [math.log10(spacing * count) for count in counts])]

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return _told_apart(values, lambda v, digits: _short(10.0**v, digits) if -300 < v < 300 else "")


def round_up(value: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least `value`."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((m * power for m in (1.0, 2.0, 5.0) if m * power >= value * (1 - 1e-9)), 10.0 * power)


def _logarithm(values: Any, base: float) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values) / math.log(base)


def _short(value: float, digits: int) -> str:
    return f"{value:,.{max(6, digits)}g}" if 1e-3 <= value < 1e5 else numbers.scientific(value, digits)


def _told_apart(values: list[float], write: Callable[[float, int], str]) -> list[str]:
    """Write values with three significant digits, or with as many more as they need to differ."""
    labels: list[str] = []
    for digits in range(3, MOST_DIGITS):
        labels = [write(value, digits) for value in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels
