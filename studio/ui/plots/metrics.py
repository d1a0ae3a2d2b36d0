"""The small charts: gradient norm, learning rate and speed."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QWidget

from studio.i18n import gettext_noop, sentences, tr
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.text import numbers
from studio.ui.override import override
from studio.ui.plots.axes import Log10Axis, ValueAxis
from studio.ui.plots.curve import Curve, Style
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.timeline import Timeline

LIMIT = Style(title=gettext_noop("clip limit"), colour="warning", dashed=True)


class MetricChart(LineChart):
    """One series of the record as one curve."""

    def __init__(
        self, key: str, title: str, timeline: Timeline, axis: ValueAxis, style: Style, parent: QWidget | None = None
    ) -> None:
        self.key = key
        super().__init__(title, timeline, axis, (Curve(style),), parent)

    @override
    def _connect(self, curve: Curve, record: RunRecord | None) -> None:
        curve.show(MetricSeries() if record is None else record.series[self.key])


class GradNormChart(MetricChart):
    """The unscaled norm before clipping, on a log10 axis, with the limit at which it is clipped.

    Only what is read out tells the norm after clipping: as a curve it would follow the limit or the norm itself.
    """

    limit = 0.0

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        title = tr("Gradient norm")
        super().__init__("grad_norm", title, timeline, Log10Axis(), Style(title=title, colour="series_3"), parent)

    def set_limit(self, norm: float) -> None:
        """Draw the clip limit; 0 means that nothing is clipped."""
        self.limit = norm
        self.overlay.level = float(self.value_axis.forward(np.float64(norm))) if norm > 0 else None
        self.refresh()

    @override
    def use_axis(self, axis: ValueAxis) -> None:
        super().use_axis(axis)
        self.set_limit(self.limit)

    @override
    def reading(self, step: int) -> str:
        before = self.curves[0].at(step)
        after = None if self.record is None else self.record.series["grad_norm_clipped"].at(step)
        if before is None or after is None or not after < before:
            return super().reading(step)
        return f"{numbers.number(before, 3)} → {numbers.number(after, 3)}"

    @override
    def summary(self) -> str:
        after = MetricSeries() if self.record is None else self.record.series["grad_norm_clipped"]
        if not len(after):
            return super().summary()
        before = self.curves[0].series
        clipped = int((after.y < before.y[np.isin(before.x, after.x)]).sum())
        words = tr("Clipped in {clipped} of {steps} steps; now {now} after clipping.")
        counts = words.format(clipped=f"{clipped:,}", steps=f"{len(after):,}", now=self.value_text(float(after.y[-1])))
        return sentences((super().summary(), counts))

    @override
    def extras(self) -> dict[Style, bool]:
        return {LIMIT: self.overlay.level is not None} | super().extras()

    @override
    def _levels(self) -> list[float]:
        """The limit belongs in view where the curve comes near it; far away it would flatten the curve."""
        level, y = self.overlay.level, self.curves[0].item.yData
        if level is None or y is None or not len(y):
            return []
        room = 1.0 if self.value_axis is self.usual_axis else float(y.max())
        return [level] if y.min() - room <= level <= y.max() + room else []


class LearningRateChart(MetricChart):
    """The learning rate of each step."""

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        title = tr("Learning rate")
        style = Style(title=title, colour="series_5", width=1.5)
        super().__init__("learning_rate", title, timeline, ValueAxis(), style, parent)

    @override
    def value_text(self, value: float) -> str:
        return numbers.number(value, 3)


class SpeedChart(MetricChart):
    """Tokens read a second, of each step alone."""

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        title = tr("Tokens per second")
        super().__init__(
            "tokens_per_second", title, timeline, ValueAxis(), Style(title=title, colour="series_6"), parent
        )

    @override
    def value_text(self, value: float) -> str:
        return numbers.whole(value)
