"""The gradient scale on a log2 axis: where it halves, gradients overflowed; where it doubles, it is searching."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from studio.exponents import FP16
from studio.i18n import tr
from studio.runner.state import RunState
from studio.text import numbers
from studio.ui.override import override
from studio.ui.plots.axes import Log2Axis, ScaleAxis
from studio.ui.plots.curve import Style
from studio.ui.plots.metrics import MetricChart
from studio.ui.plots.timeline import Timeline


class ScaleChart(MetricChart):
    """The scale each step used, drawn in steps. It stands above the event lane, which names the steps for both."""

    shows_steps = False
    linear, logarithmic = ScaleAxis, Log2Axis

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        title = tr("Gradient scale")
        style = Style(title=title, colour="series_4", width=1.5, steps=True)
        super().__init__("grad_scale", title, timeline, Log2Axis(), style, parent)

    @override
    def empty_message(self) -> str:
        if self.record is None or not len(self.record.series["loss"]) or len(self.curves[0].series):
            return super().empty_message()
        if self.record.state.compute == FP16.name:
            return tr("Loss scaling is switched off: the scale is 1.\nWith it, the scale of each step is shown here.")
        return tr("This precision needs no loss scaling.\nfp16 does; its gradient scale is shown here.")

    @override
    def value_text(self, value: float) -> str:
        return numbers.scale(value)

    @override
    def reading(self, step: int) -> str:
        before, after = self.curves[0].at(step), self.curves[0].at(step + 1)
        if before is not None and after is not None and after != before:
            return f"{numbers.scale(before).split()[0]} → {numbers.scale(after)}"
        return super().reading(step)


def scale_figure(state: RunState) -> tuple[str, str]:
    """Return the scale of the newest step, or a dash, and a word about it."""
    if state.grad_scale is not None:
        value, _, power = numbers.scale(state.grad_scale).partition(" ")
        return value, power.strip("()")
    if not state.step:
        return numbers.NONE, ""
    return ("1", tr("switched off")) if state.compute == FP16.name else (numbers.NONE, tr("not needed"))
