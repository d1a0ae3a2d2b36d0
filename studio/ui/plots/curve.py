"""One curve of a chart: a series, the pen it is drawn with, and what of it is in view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtGui import QColor

from studio.i18n import gettext_noop, sentences, tr, trn
from studio.runner.ruler import Ruler
from studio.runner.series import MetricSeries
from studio.text import numbers
from studio.ui import theme

Array = NDArray[np.float64]
# A wide line of more points is stroked segment by segment: as one path it would take 50 times as long. Of fewer, one
# path looks better at the joints.
PATH_POINTS = 400
Forward = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a curve, a limit or a mark looks. `colour` is a name of the palette; `strength` is its opacity."""

    title: str
    colour: str = "series_1"
    width: float = 1.0
    strength: float = 1.0
    steps: bool = False
    dots: bool = False
    dashed: bool = False
    mark: bool = False

    def shade(self) -> QColor:
        """Return the colour in the present theme."""
        colour = QColor(getattr(theme.palette(), self.colour))
        colour.setAlphaF(self.strength)
        return colour


NOT_FINITE = Style(title=gettext_noop("not finite"), colour="bad", mark=True)


@dataclass
class Marks:
    """Steps whose value cannot be drawn: not a number or infinite, or zero and below on a logarithmic axis."""

    not_finite: Array = field(default_factory=lambda: np.empty(0))
    not_positive: Array = field(default_factory=lambda: np.empty(0))


class Curve:
    """A series drawn as a line, at most two points a pixel, with what cannot be drawn told apart."""

    def __init__(self, style: Style) -> None:
        self.style = style
        self.show(MetricSeries())
        self.item = pg.PlotCurveItem(stepMode="right" if style.steps else None, antialias=not style.steps)
        self.dots = pg.ScatterPlotItem(size=theme.space(0.75), pxMode=True, antialias=True)
        self.apply_theme()

    def show(self, series: MetricSeries) -> None:
        """Draw another series from now on."""
        self.series = series
        self._looked_at = 0
        self._met_not_finite = False

    @property
    def has_not_finite(self) -> bool:
        """Whether any value is not finite. Each point is looked at once, however often this is asked."""
        new = self.series.y[self._looked_at :]
        self._looked_at = len(self.series)
        self._met_not_finite = self._met_not_finite or not np.isfinite(new).all()
        return self._met_not_finite

    def apply_theme(self) -> None:
        """Take the colours of the theme."""
        shade = self.style.shade()
        self.item.setPen(pg.mkPen(shade, width=self.style.width))
        self.dots.setPen(pg.mkPen(theme.palette().surface, width=1))
        self.dots.setBrush(pg.mkBrush(shade))

    def draw(self, first: float, last: float, pixels: int, forward: Forward, ruler: Ruler) -> Array:
        """Draw what lies between two steps, at the places of a ruler; return the values drawn, on the axis."""
        x, y = self.series.reduced(first, last, pixels)
        y = np.asarray(forward(y))
        kept = np.isfinite(y)
        x, y = x[kept], y[kept]
        self.item.setSegmentedLineMode("on" if self.style.width > 1 and len(x) > PATH_POINTS else "off")
        ends, heights = self._to_the_end(x, y)
        self.item.setData(ruler.places(ends), heights)
        # A line through one point is nothing to see.
        dotted = self.style.dots or (len(x) == 1 and not self.style.steps)
        self.dots.setData(*((ruler.places(x), y) if dotted else ([], [])))
        return y

    def marks(self, first: float, last: float, forward: Forward) -> Marks:
        """Return the steps between two that have no place on the axis."""
        not_finite = self.series.non_finite(first, last)
        x, y = self._between(first, last)
        return Marks(not_finite, x[np.isfinite(y) & ~np.isfinite(forward(y))])

    def at(self, step: int) -> float | None:
        """Return the raw value of a step, or None when the series has none there."""
        return self.series.at(step)

    def before(self, step: int) -> tuple[int, float] | None:
        """Return the newest point at or before a step: its step and its raw value."""
        index = int(np.searchsorted(self.series.x, step, side="right")) - 1
        return (int(self.series.x[index]), float(self.series.y[index])) if index >= 0 else None

    def in_words(self) -> str:
        """Return the newest, lowest and highest value of a curve that has points, and how many are not finite."""
        y = self.series.y
        finite = y[np.isfinite(y)]
        text = tr("{name}: now {now}, lowest {low}, highest {high}.").format(
            name=tr(self.style.title),
            now=numbers.number(float(y[-1])),
            low=numbers.number(float(finite.min()) if len(finite) else None),
            high=numbers.number(float(finite.max()) if len(finite) else None),
        )
        bad = self.series.x[~np.isfinite(y)]
        if not len(bad):
            return text
        words = trn(
            "{count} value is not finite, at step {step}.",
            "{count} values are not finite, the first at step {step}.",
            len(bad),
        )
        return sentences((text, words.format(count=len(bad), step=f"{int(bad[0]):,}")))

    def _between(self, first: float, last: float) -> tuple[Array, Array]:
        begin, end = np.searchsorted(self.series.x, [first, last + 1e-9])
        return self.series.x[begin:end], self.series.y[begin:end]

    def _to_the_end(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The value of the last step holds until that step is over: a step-shaped line shows it one step longer."""
        if not self.style.steps or not len(x):
            return x, y
        return np.append(x, x[-1] + 1), np.append(y, y[-1])
