"""The losses of several runs, one over the other; a curve that another one covers shows on both sides of it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from studio.i18n import gettext_noop, tr
from studio.runner.record import RunRecord
from studio.runner.series import MetricSeries
from studio.ui.override import override
from studio.ui.plots.axes import ValueAxis
from studio.ui.plots.curve import Curve, Style
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.timeline import Timeline

# The first is the widest and palest, so that what lies on it is seen to lie on it.
_LOOKS = (("series_1", 6.0, 0.5), ("series_2", 3.0, 0.8), ("series_3", 1.5, 1.0))


class OverlaidChart(LineChart):
    """Losses of up to three runs over their steps; the curve of the first run lies below the others."""

    def __init__(self, titles: Sequence[str], timeline: Timeline, parent: QWidget | None = None) -> None:
        looks = zip(titles, _LOOKS[: len(titles)], strict=True)
        curves = [
            Curve(Style(title=gettext_noop(title), colour=colour, width=width, strength=strength))
            for title, (colour, width, strength) in looks
        ]
        super().__init__(tr("Loss"), timeline, ValueAxis(), curves, parent)

    def show_runs(self, records: Sequence[RunRecord]) -> None:
        """Show these runs, in the order of the titles; runs that are missing have not begun."""
        for number, curve in enumerate(self.curves):
            curve.show(records[number].series["loss"] if number < len(records) else MetricSeries())
        self.record = records[0] if records else None
        states = [record.state for record in records]
        planned = max((state.planned_updates for state in states), default=0)
        self.timeline.restart(max((state.step for state in states), default=0), planned)
        self.refresh()
        self.describe()

    @override
    def reading(self, step: int) -> str:
        found = [(curve.style.title, curve.at(step)) for curve in self.curves]
        return "   ".join(f"{title} {self.value_text(value)}" for title, value in found if value is not None)
