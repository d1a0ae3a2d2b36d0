"""Curves over the steps, drawn from their raw values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PySide6.QtWidgets import QWidget

from studio.i18n import sentences
from studio.runner.record import RunRecord
from studio.runner.ruler import Ruler
from studio.text import numbers
from studio.ui.override import override
from studio.ui.plots.axes import Log10Axis, ValueAxis
from studio.ui.plots.curve import NOT_FINITE, Curve, Marks, Style
from studio.ui.plots.overlay import CurveOverlay
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.timeline_plot import TimelinePlot

Scale: TypeAlias = Literal["usual", "linear", "logarithmic"]
# How much of the height stays free above and below the curves; above there is room for marks.
ABOVE, BELOW = 0.10, 0.06


class LineChart(TimelinePlot):
    """A plot of curves, with marks where a value has no place on the axis."""

    overlay: CurveOverlay
    linear: type[ValueAxis] = ValueAxis
    logarithmic: type[ValueAxis] = Log10Axis

    def __init__(
        self,
        title: str,
        timeline: Timeline,
        axis: ValueAxis,
        curves: Sequence[Curve],
        parent: QWidget | None = None,
        overlay: type[CurveOverlay] = CurveOverlay,
    ) -> None:
        self.curves, self.usual_axis = tuple(curves), axis
        super().__init__(title, timeline, axis, overlay, parent)
        for curve in self.curves:
            self.addItem(curve.item)
            self.addItem(curve.dots)

    @override
    def show_record(self, record: RunRecord | None) -> None:
        for curve in self.curves:
            self._connect(curve, record)
        super().show_record(record)

    @override
    def empty_message(self) -> str:
        return "" if any(len(curve.series) for curve in self.curves) else super().empty_message()

    @override
    def reading(self, step: int) -> str:
        values = (curve.at(step) for curve in self.curves)
        return "   ".join(self.value_text(value) for value in values if value is not None)

    @override
    def summary(self) -> str:
        if message := self.empty_message():
            return message
        return sentences(curve.in_words() for curve in self.curves if len(curve.series) and curve.style.title)

    @override
    def apply_theme(self) -> None:
        super().apply_theme()
        for curve in self.curves:
            curve.apply_theme()

    def value_text(self, value: float) -> str:
        """Return a value of this chart as text."""
        return numbers.number(value)

    def set_scale(self, scale: Scale) -> None:
        """Draw the values on a linear or a logarithmic axis, or on the one that suits them as a rule."""
        wanted = {"linear": self.linear, "logarithmic": self.logarithmic}.get(scale, type(self.usual_axis))
        if wanted is not type(self.value_axis):
            self.use_axis(self.usual_axis if wanted is type(self.usual_axis) else wanted())

    def extras(self) -> dict[Style, bool]:
        """Return what the legend explains beside the curves, and whether there is such a thing now."""
        return {NOT_FINITE: any(curve.has_not_finite for curve in self.curves)}

    def ruler_of(self, curve: Curve) -> Ruler:
        """Return what tells where the steps of a curve stand."""
        return self.timeline.ruler

    def value_at(self, curve: Curve, step: int) -> float | None:
        """Return the value of a curve under the cursor at a step; None where it has none."""
        return curve.at(step)

    def marks_of(self, curve: Curve, first: float, last: float) -> Marks:
        """Return what of a curve has no place on the axis between two of its steps, at steps of the timeline."""
        return curve.marks(first, last, self.value_axis.forward)

    def _connect(self, curve: Curve, record: RunRecord | None) -> None:
        """Give a curve its series of the record."""

    def _levels(self) -> list[float]:
        """Values, on the axis, that must be in view beside the curves."""
        return []

    @override
    def _draw_content(self, fit: bool) -> None:
        forward = self.value_axis.forward
        pixels = max(1, int(self.view.width() * self.devicePixelRatioF()))
        edges = np.array([self.timeline.first, self.timeline.last])
        drawn, marks = [], []
        for curve in self.curves:
            ruler = self.ruler_of(curve)
            first, last = ruler.steps(edges)
            drawn.append(curve.draw(first, last, pixels, forward, ruler))
            marks.append(self.marks_of(curve, first, last))
        if fit:
            self._fit_values(np.concatenate([*drawn, self._levels()]))
        self.overlay.marks = marks

    def _fit_values(self, values: NDArray[np.float64]) -> None:
        if not len(values):
            return
        low, high = float(values.min()), float(values.max())
        # Around a value that never changed there is room for ticks that differ.
        height = max(high - low, self.value_axis.least, abs(high) * (1e-3 if high > low else 0.5), 1e-12)
        if high - low < height:
            low, high = (low + high - height) / 2, (low + high + height) / 2
        # Half a line is free at least, so that the labels of the outermost ticks have room.
        half = 0.55 * self.value_axis.style["tickTextHeight"]
        line = half / max(1.0, self.view.height() - 2 * half)
        self.view.setYRange(low - max(BELOW, line) * height, high + max(ABOVE, line) * height, padding=0)

    @override
    def _place_cursor(self) -> None:
        step = self.timeline.cursor
        self.overlay.points = []
        for curve in self.curves:
            value = None if step is None else self.value_at(curve, step)
            height = np.nan if value is None else float(self.value_axis.forward(np.float64(value)))
            if np.isfinite(height):
                self.overlay.points.append((height, curve.style.colour))
        super()._place_cursor()
