"""The cards of the heat map and of one module's history."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from studio.i18n import tr
from studio.runner.numerics import Direction, Statistic
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.override import override
from studio.ui.plots.heatmap.axis import title_of
from studio.ui.plots.heatmap.bar import ColourBar
from studio.ui.plots.heatmap.heatmap import HeatMap
from studio.ui.plots.heatmap.history import ModuleHistory
from studio.ui.plots.panel import ChartPanel
from studio.ui.plots.timeline import Timeline
from studio.ui.widgets.card import Card
from studio.ui.widgets.combo import ComboBox
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import ElidedLabel


class MapCard(Card):
    """The map with the switch of what it shows, its colours, and the cell under the cursor in numbers."""

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        super().__init__(tr("Modules over steps"), parent)
        self.map = HeatMap(timeline)
        self.bar = ColourBar(self.map.step_axis.maximumHeight() if self.map.shows_steps else 0)
        self.direction = Segmented((("gradient", tr("Gradients")), ("activation", tr("Activations"))))
        self.direction.describe(
            tr("Map of"), tr("Gradients are shown as computed, that is, times the loss scale; activations as they are")
        )
        self.statistic = ComboBox(
            (
                ("largest", tr("Largest value")),
                ("zeros", tr("Share of zeros")),
                ("subnormal", tr("Share of subnormals")),
            )
        )
        self.statistic.setAccessibleName(tr("Statistic of the map"))
        self.statistic.setToolTip(tr("The largest absolute value, or the share that fp16 makes zero or subnormal"))
        self.reading = ElidedLabel("", "caption")
        self._lay_out()
        self.direction.changed.connect(self._change)
        self.statistic.changed.connect(self._change)
        self.map.read.connect(self._show_reading)

    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self.map.show_record(record)

    def _show_reading(self, text: str) -> None:
        self.reading.set_text(text)
        self.bar.setVisible(not self.map.empty_message())

    def _change(self) -> None:
        direction = cast(Direction, self.direction.value())
        self.map.show_statistic(direction, cast(Statistic, self.statistic.value()))
        self.bar.show_shares(self.statistic.value() != "largest")

    def _lay_out(self) -> None:
        for choice in (self.direction, self.statistic):
            self.tools.add(choice)
        self.picture = QWidget()
        self.picture.setAccessibleName(self.title.text())
        hbox((self.map, 1), self.bar, spacing=0.5, parent=self.picture)
        self.body.setSpacing(theme.space(0.25))
        self.body.addWidget(self.picture, 1)
        self.body.addWidget(self.reading)


class HistoryCard(ChartPanel):
    """The module that was chosen in the map, or the one to look at first."""

    def __init__(self, timeline: Timeline, parent: QWidget | None = None) -> None:
        self.history = ModuleHistory(timeline)
        self.reading = ElidedLabel("", "caption")
        super().__init__(self.history, parent)
        self._drawn: object = None
        self.title.hide()
        self.heading = ElidedLabel(self.history.title, "heading")
        self.header.insertWidget(0, self.heading)
        self.name = ElidedLabel("", "caption", mode=Qt.TextElideMode.ElideLeft)
        self.body.addLayout(hbox((self.name, 1), self.reading, spacing=1))

    def follow(self, heat: HeatMap) -> None:
        """Show the module that the map has chosen, as far as its samples go."""
        module = heat.choice[0] if heat.choice else heat.hottest()
        drawn = (id(heat.matrix), len(heat.matrix), module)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        if module is None or not len(heat.matrix):
            self.heading.set_text(self.history.title)
            self.name.set_text("")
            return
        name = heat.names[module]
        self.heading.set_text(title_of(name))
        self.name.set_text(name)
        self.history.show_module(name, module, heat.matrix)

    @override
    def _show_reading(self, text: str) -> None:
        """Show the reading below the chart, beside the full name of the module."""
        self.reading.set_text(text)
