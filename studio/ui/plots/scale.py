"""The gradient scale on a log2 axis: where it halves, gradients overflowed; where it doubles, it is searching."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget
from typing_extensions import override

from studio.i18n import tr
from studio.ui.plots import numbers
from studio.ui.plots.axes import Log2Axis
from studio.ui.plots.curve import Style
from studio.ui.plots.metrics import MetricChart
from studio.ui.plots.timeline import Timeline


class ScaleChart(MetricChart):
    """The scale each step used, drawn in steps. It stands above the event lane, which names the steps for both."""

    shows_steps = False

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        title = tr("Gradient scale")
        style = Style(title=title, colour="series_4", width=1.5, steps=True)
        super().__init__("grad_scale", title, timeline, Log2Axis(), style, parent)

    @override
    def empty_message(self) -> str:
        if self.record is not None and len(self.record.series["loss"]) and not len(self.curves[0].series):
            return tr("This precision needs no loss scaling.\nfp16 does; its gradient scale is shown here.")
        return super().empty_message()

    @override
    def value_text(self, value: float) -> str:
        return numbers.scale(value)

    @override
    def reading(self, step: int) -> str:
        before, after = self.curves[0].at(step), self.curves[0].at(step + 1)
        if before is not None and after is not None and after != before:
            return f"{numbers.scale(before).split()[0]} → {numbers.scale(after)}"
        return super().reading(step)
