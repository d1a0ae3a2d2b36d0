"""The loss: every raw value thin, their mean bold, and the validation points joined by a line."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from studio.i18n import gettext_noop, tr
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.text import numbers
from studio.ui.override import override
from studio.ui.plots.axes import ValueAxis
from studio.ui.plots.curve import Curve, Style
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.timeline import Timeline

DEFAULT_WINDOW = 8
RAW_LINE = Style(title=gettext_noop("Training"), strength=0.45)
MEAN_LINE = Style(title="", width=2.0)
VALIDATION_LINE = Style(title=gettext_noop("Validation"), colour="series_2", width=1.5, dots=True)


class LossChart(LineChart):
    """Mean loss per supervised token, of each step and of the validations."""

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        self.raw, self.mean, self.validation = Curve(RAW_LINE), Curve(MEAN_LINE), Curve(VALIDATION_LINE)
        self.window = DEFAULT_WINDOW
        self._smoothed = (0, 0, 0)
        super().__init__(tr("Loss"), timeline, ValueAxis(), (self.raw, self.mean, self.validation), parent)

    def set_window(self, steps: int) -> None:
        """Smooth over so many steps; 1 shows the raw values alone."""
        self.window = steps
        self.refresh()

    @override
    def draw(self) -> None:
        self._smooth()
        super().draw()

    @override
    def reading(self, step: int) -> str:
        raw, mean, checked = self.raw.at(step), self.mean.at(step), self.validation.before(step)
        parts = []
        if raw is not None:
            parts.append(tr("training {value}").format(value=numbers.number(raw)))
        if mean is not None and self.window > 1:
            parts.append(tr("mean {value}").format(value=numbers.number(mean)))
        if checked is not None:
            parts.append(_validation_text(checked, step))
        return "   ".join(parts)

    @override
    def summary(self) -> str:
        text = super().summary()
        if len(self.validation.series) < 2 or self.empty_message():
            return text
        first, last = self.validation.series.y[0], self.validation.series.y[-1]
        return (
            text
            + " "
            + tr("Validation went from {first} to {last}.").format(
                first=numbers.number(float(first)), last=numbers.number(float(last))
            )
        )

    @override
    def _connect(self, curve: Curve, record: RunRecord | None) -> None:
        keys = {id(self.raw): "loss", id(self.validation): "validation"}
        if record is None or id(curve) not in keys:
            curve.show(MetricSeries())
        else:
            curve.show(record.series[keys[id(curve)]])

    def _smooth(self) -> None:
        """The mean is computed anew only when there are new points or another window."""
        wanted = (self.window, len(self.raw.series), len(self.record.seams) if self.record else 0)
        if wanted == self._smoothed and len(self.mean.series):
            return
        self._smoothed = wanted
        self.mean.show(self.raw.series.smoothed(self.window) if self.window > 1 else MetricSeries())


def _validation_text(checked: tuple[int, float], step: int) -> str:
    at, value = checked
    if at == step:
        return tr("validation {value}").format(value=numbers.number(value))
    return tr("validation {value} (step {step})").format(value=numbers.number(value), step=f"{at:,}")
