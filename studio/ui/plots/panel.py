"""A chart in its card: title, legend and the values under the cursor in the header, so that nothing covers the data."""

from __future__ import annotations

from typing import cast

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.legend import Legend
from studio.ui.plots.line_chart import LineChart
from studio.ui.widgets.card import Card


class ChartPanel(Card):
    """Holds one chart, and what is put below it."""

    def __init__(self, chart: LineChart, parent: QWidget | None = None) -> None:
        super().__init__(chart.title, parent)
        self.chart = chart
        named = [curve.style for curve in chart.curves if curve.style.title]
        self.legend = Legend(named if len(named) > 1 else [])
        self.header.insertWidget(1, self.legend)
        self.body.setSpacing(0)
        self.body.addWidget(chart, 1)
        # Axis labels bring their own air, so the margins are smaller than a card's.
        cast(QVBoxLayout, self.layout()).setContentsMargins(
            theme.space(2), theme.space(1.25), theme.space(1.25), theme.space(1)
        )
        chart.read.connect(self._show_reading)

    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self.chart.show_record(record)
        self.refresh()

    def refresh(self) -> None:
        """Show what the run has become."""
        for style, shown in self.chart.extras().items():
            self.legend.set_shown(style, shown)
        self.chart.refresh()

    def _show_reading(self, text: str) -> None:
        self.set_summary(text)
        self._make_room()

    def _make_room(self) -> None:
        """The values that are read come before the names of the lines, where there is no room for both."""
        taken = self.title.sizeHint().width() + self.legend.sizeHint().width() + self.summary_width()
        self.legend.setVisible(taken + 4 * self.header.spacing() <= self.contentsRect().width() - 2 * theme.space(2))

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()
