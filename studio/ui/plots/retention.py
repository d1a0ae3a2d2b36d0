"""What the model keeps while it learns: retention, on the time line of the loss above it."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QWidget

from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.text import numbers
from studio.text.retention import retention_share
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.axes import ValueAxis
from studio.ui.plots.curve import Curve, Style
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.timeline import Timeline


class RetentionChart(LineChart):
    """The base's perplexity divided by the model's, on general texts: 1 is as good as before training.

    The dashed line is the bound below which the run ends, where there is one, else 1.
    """

    shows_steps = False

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        title = tr("Retention")
        style = Style(title=title, colour="series_4", width=1.5, dots=True)
        super().__init__(title, timeline, ValueAxis(), (Curve(style),), parent)
        self.setFixedHeight(theme.space(8))  # below the loss, which is to keep its room
        self.bound = 0.0

    def set_bound(self, bound: float) -> None:
        """Draw the bound below which the run ends; 0 is none."""
        self.bound = bound
        self.overlay.level = float(self.value_axis.forward(np.float64(bound))) if bound else None
        self.refresh()

    @override
    def use_axis(self, axis: ValueAxis) -> None:
        super().use_axis(axis)
        self.set_bound(self.bound)

    @override
    def value_text(self, value: float) -> str:
        return retention_share(value)

    @override
    def reading(self, step: int) -> str:
        kept = self.curves[0].before(step)
        if kept is None or self.record is None:
            return ""
        at, value = kept
        kl, perplexity = (self.record.series[key].at(at) for key in ("kl", "perplexity"))
        words = tr("retention {retention}   perplexity {perplexity}   KL {kl} nats a token")
        text = words.format(
            retention=retention_share(value), perplexity=numbers.number(perplexity), kl=numbers.number(kl, 3)
        )
        return text if at == step else tr("{values} (step {step})").format(values=text, step=f"{at:,}")

    @override
    def _connect(self, curve: Curve, record: RunRecord | None) -> None:
        curve.show(MetricSeries() if record is None else record.series["retention"])

    @override
    def _levels(self) -> list[float]:
        """1 is always in view, so that a fall is seen for what it is."""
        values = [1.0, 0.9, *([self.bound] if self.bound else [])] if len(self.curves[0].series) else []
        return [float(self.value_axis.forward(np.float64(value))) for value in values]
