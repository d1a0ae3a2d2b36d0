"""One module over the steps: the curve behind a row of the heat map."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget

from studio.exponents import FP16
from studio.i18n import tr
from studio.runner.numerics import ModuleMatrix, sample_at
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.text import numbers
from studio.text.numbers import in_percent, share_text
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.axes import Log2Axis, ValueAxis
from studio.ui.plots.curve import Curve, Style
from studio.ui.plots.heatmap.words import exponent_text
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.overlay import CurveOverlay
from studio.ui.plots.timeline import Timeline

# Limits that are so many powers of two away from the curve stay out of view: they would flatten it.
NEAR = 8.0


class PowerAxis(Log2Axis):
    """Powers of two without their values, for narrow charts; or shares of 0 to 1 in per cent."""

    widest = "2⁻¹²⁶"
    shares = False

    def show_shares(self, shares: bool) -> None:
        """Be a linear axis in per cent, or a logarithmic one."""
        self.shares = shares
        self.least = 0.01 if shares else 1.0
        self.picture = None

    @override
    def forward(self, values: Any) -> Any:
        return values if self.shares else super().forward(values)

    @override
    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:
        if self.shares:
            return ValueAxis.tickSpacing(self, minVal, maxVal, size)
        return super().tickSpacing(minVal, maxVal, size)

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if self.shares:
            return [in_percent(f"{100 * value:.3g}" if abs(value) > 1e-9 else "0") for value in values]
        return super().tickStrings(values, scale, spacing)

    @override
    def _label(self, exponent: int) -> str:
        return numbers.power_of_two(exponent)


class LimitOverlay(CurveOverlay):
    """Draws the limits of fp16 that are in view, with their names."""

    limits: tuple[tuple[float, str], ...] = ()

    @override
    def _paint_content(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setFont(theme.caption_font())
        for exponent, text in self.limits:
            self._paint_limit(painter, self.height_of(exponent), text)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        super()._paint_content(painter)

    def _paint_limit(self, painter: QPainter, y: float, text: str) -> None:
        line = QFontMetricsF(painter.font()).height()
        painter.setPen(QPen(theme.palette().warning, 1, Qt.PenStyle.DashLine))
        painter.drawLine(QLineF(0, y, self.view.width(), y))
        below = y + line < self.view.height()
        room = QRectF(0, y if below else y - line, self.view.width() - theme.space(0.5), line)
        painter.drawText(room, int(Qt.AlignmentFlag.AlignRight), text)


class ModuleHistory(LineChart):
    """The shown statistic of one module at every sampled step."""

    overlay: LimitOverlay

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        self.name = ""
        self.powers = PowerAxis()
        self.line = Curve(Style(title=tr("Largest value"), width=1.5, dots=True))
        super().__init__(tr("Module"), timeline, self.powers, (self.line,), parent, LimitOverlay)

    def show_module(self, name: str, module: int, matrix: ModuleMatrix) -> None:
        """Show a row of the matrix; the caller asks again when the matrix has grown."""
        self.name = name
        self.powers.show_shares(matrix.statistic != "largest")
        limits = (
            (math.log2(FP16.largest), tr("fp16 overflows")),
            (float(FP16.smallest_normal), tr("fp16 subnormal below")),
            (float(FP16.smallest - 1), tr("fp16 zero below")),
        )
        self.overlay.limits = () if self.powers.shares else limits
        self.line.show(matrix.series(module))
        self.setAccessibleName(tr("History of {module}").format(module=name))
        self.refresh()

    @override
    def empty_message(self) -> str:
        return "" if len(self.line.series) else tr("The history of a module is shown here.")

    @override
    def value_text(self, value: float) -> str:
        return share_text(value, 1) if self.powers.shares and math.isfinite(value) else exponent_text(value)

    @override
    def reading(self, step: int) -> str:
        sample = sample_at(self.record.samples, step) if self.record else None
        value = self.line.at(sample.step) if sample else None
        return "" if value is None else self.value_text(value)

    @override
    def summary(self) -> str:
        return f"{self.name}. {super().summary()}" if self.name else super().summary()

    @override
    def _connect(self, curve: Curve, record: RunRecord | None) -> None:
        """The matrix brings the points; another run begins without."""
        self.name = ""
        curve.show(MetricSeries())

    @override
    def _levels(self) -> list[float]:
        y: NDArray[np.float64] | None = self.line.item.yData
        if y is None or not len(y):
            return []
        low, high = float(y.min()) - NEAR, float(y.max()) + NEAR
        return [exponent for exponent, _ in self.overlay.limits if low <= exponent <= high]
