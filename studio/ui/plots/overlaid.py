"""One metric of several runs, one over the other; a curve that another one covers shows on both sides of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from studio.i18n import gettext_noop, tr
from studio.runner.record import RunRecord
from studio.runner.ruler import Measure, Ruler
from studio.runner.series import MetricSeries
from studio.text import numbers
from studio.ui.override import override
from studio.ui.plots.axes import Log2Axis, ScaleAxis, ValueAxis
from studio.ui.plots.curve import Curve, Marks, Style
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.timeline import Timeline

# Of up to three runs the first is the widest and palest, so that what lies on it is seen to lie on it.
_FEW = ((6.0, 0.5), (3.0, 0.8), (1.5, 1.0))


class OverlaidChart(LineChart):
    """The training losses of up to `theme.MOST_CURVES` runs. Each curve stands where the steps of its own run stand.

    The cursor is at a step of the run that comes furthest; of the others, their value at that place is read.
    """

    key, title_of_metric = "loss", gettext_noop("Loss")
    usual: type[ValueAxis] = ValueAxis
    steps = False

    def __init__(self, titles: Sequence[str], timeline: Timeline, parent: QWidget | None = None) -> None:
        self.records: Sequence[RunRecord] = ()
        self._rulers: list[Ruler] = []
        self._window = 1
        curves = [Curve(self._style(number, title, len(titles))) for number, title in enumerate(titles)]
        super().__init__(tr(self.title_of_metric), timeline, self.usual(), curves, parent)

    def show_runs(self, records: Sequence[RunRecord], measure: Measure = "step") -> None:
        """Show these runs, in the order of the titles; runs that are missing have not begun."""
        self.records = records
        self._rulers = [Ruler(record, measure) for record in records]
        self._show_series()
        steps = [record.state.step for record in records]
        ends = [float(ruler.places(step)) for ruler, step in zip(self._rulers, steps, strict=True)]
        furthest = ends.index(max(ends)) if ends else None
        planned = max((record.state.planned_updates for record in records), default=0)
        if furthest is None:
            self.record = None
            self.timeline.restart(0, planned)
        else:
            self.record = records[furthest]
            self.timeline.restart(steps[furthest], planned, self._rulers[furthest])
        self.refresh()
        self.describe()

    def set_window(self, steps: int) -> None:
        """Show the mean over so many steps; 1 shows the raw values."""
        self._window = steps
        self._show_series()
        self.refresh()

    @override
    def reading(self, step: int) -> str:
        found = [(tr(curve.style.title), self.value_at(curve, step)) for curve in self.curves]
        texts = [(title, self.value_text(value)) for title, value in found if value is not None]
        same = len(texts) > 1 and len({text for _, text in texts}) == 1
        return texts[0][1] if same else "   ".join(f"{title} {text}" for title, text in texts)

    @override
    def value_at(self, curve: Curve, step: int) -> float | None:
        own = float(self.ruler_of(curve).steps(self.timeline.ruler.places(step)))
        x = curve.series.x
        if not len(x) or own > x[-1] + 0.5:
            return None
        found = curve.before(math.floor(own + 1e-6))
        return found[1] if found else None

    @override
    def ruler_of(self, curve: Curve) -> Ruler:
        number = self.curves.index(curve)
        return self._rulers[number] if number < len(self._rulers) else self.timeline.ruler

    @override
    def marks_of(self, curve: Curve, first: float, last: float) -> Marks:
        found, ruler, common = super().marks_of(curve, first, last), self.ruler_of(curve), self.timeline.ruler
        return Marks(*(common.steps(ruler.places(steps)) for steps in (found.not_finite, found.not_positive)))

    def _show_series(self) -> None:
        for number, curve in enumerate(self.curves):
            series = self.records[number].series[self.key] if number < len(self.records) else MetricSeries()
            curve.show(series.smoothed(self._window) if self._window > 1 and not self.steps else series)

    def _style(self, number: int, title: str, runs: int) -> Style:
        width, strength = _FEW[number] if runs <= len(_FEW) else (1.5, 0.9)
        colour = f"series_{number + 1}"
        return Style(title=gettext_noop(title), colour=colour, width=width, strength=strength, steps=self.steps)


class OverlaidScale(OverlaidChart):
    """The gradient scales of the same runs, in steps."""

    key, title_of_metric = "grad_scale", gettext_noop("Gradient scale")
    usual, linear, logarithmic = Log2Axis, ScaleAxis, Log2Axis
    steps = True

    @override
    def empty_message(self) -> str:
        if self.records and not any(len(curve.series) for curve in self.curves):
            return tr("None of these runs scales its loss.")
        return super().empty_message()

    @override
    def value_text(self, value: float) -> str:
        return numbers.scale(value).split()[0]
