"""The charts of a run in their places, on one timeline."""

from __future__ import annotations

from PySide6.QtWidgets import QGridLayout, QWidget

from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.plots import csv_export
from studio.ui.plots.lane.events import Event
from studio.ui.plots.lane.lane import EventLane
from studio.ui.plots.line_chart import LineChart
from studio.ui.plots.loss import DEFAULT_WINDOW, LossChart
from studio.ui.plots.metrics import GradNormChart, LearningRateChart, SpeedChart
from studio.ui.plots.pace import Pace
from studio.ui.plots.panel import ChartPanel
from studio.ui.plots.retention import RetentionChart
from studio.ui.plots.save_menu import Pictures, SaveMenu, Tables
from studio.ui.plots.scale import ScaleChart
from studio.ui.plots.smoothing import Smoothing
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.toolbar import PlotToolbar
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import ElidedLabel

_COLUMNS = 12
# Row, column, and how many of each: loss, gradient scale, gradient norm, learning rate, speed.
_WIDE = ((0, 0, 1, 8), (0, 8, 1, 4), (1, 0, 1, 4), (1, 4, 1, 4), (1, 8, 1, 4))
_NARROW = ((0, 0, 1, 12), (1, 0, 1, 12), (2, 0, 1, 6), (2, 6, 1, 6), (3, 0, 1, 12))


class RunPlots(QWidget):
    """Loss with retention; gradient scale with the event lane; gradient norm, learning rate and speed.

    `controls` (smoothing and what acts on all plots) is for the page to place.
    """

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._record: RunRecord | None = None
        self._narrow: bool | None = None
        self.timeline = Timeline(self)
        self.loss, self.scale = LossChart(self.timeline), ScaleChart(self.timeline)
        self.lane, self.grad_norm = EventLane(self.timeline), GradNormChart(self.timeline)
        self.learning_rate, self.speed = LearningRateChart(self.timeline), SpeedChart(self.timeline)
        shown = (self.loss, self.scale, self.grad_norm, self.learning_rate, self.speed)
        self.panels = {chart: ChartPanel(chart) for chart in shown}
        self.counts, self.kept = ElidedLabel("", "caption"), ElidedLabel("", "caption")
        self.retention = RetentionChart(self.timeline)
        self.retention.read.connect(self.kept.set_text)
        self.losses = _below(self.panels[self.loss], self.loss, self.kept, self.retention)
        self.scales = _below(self.panels[self.scale], self.scale, self.lane)
        self.panels[self.scale].body.addWidget(self.counts)
        self._lay_out()
        self._make_controls()
        self.lane.picked.connect(self._pick)
        self._step = self._planned = 0
        self._picked: Event | None = None
        self._pace = Pace(self._catch_up, self)

    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self._pace.forget()
        self._picked, self._record = None, record
        self._step, self._planned = (record.state.step, record.state.planned_updates) if record else (0, 0)
        self.timeline.restart(self._step, self._planned, self.toolbar.ruler(record))
        for panel in self.panels.values():
            panel.show_record(record)
        self.lane.show_record(record)
        self.retention.show_record(record)
        self._show_retention(record)
        self._show_words()

    def refresh(self, step: int, planned: int) -> None:
        """Take in that the run has come to this attempted step of so many: draw now, or as soon as the pace allows."""
        self._step, self._planned = step, planned
        self._pace.ask()

    def _catch_up(self) -> None:
        self.timeline.grow(self._step, self._planned)
        for panel in self.panels.values():
            panel.refresh()
        self.lane.refresh()
        self.retention.refresh()
        self._show_retention(self.retention.record)
        self._show_words()

    def _show_retention(self, record: RunRecord | None) -> None:
        """Give retention room only where it was measured."""
        measured = record is not None and len(record.series["retention"]) > 0
        for part in (self.kept, self.retention):
            part.setVisible(measured)

    def _pick(self, event: Event | None) -> None:
        """Say what was clicked in the lane, until something else, or nothing, is clicked."""
        self._picked = event
        self._show_words()

    def _show_words(self) -> None:
        self.counts.set_text(self._picked.text if self._picked else self.lane.counts())

    def _make_controls(self) -> None:
        about = tr("The bold line is the mean of so many steps; the thin line is every raw value")
        self.smoothing = Smoothing(DEFAULT_WINDOW, about)
        self.smoothing.changed.connect(lambda: self.loss.set_window(self.smoothing.steps))
        self.save = SaveMenu(self._context, self, self._tables(), self._pictures())
        self.toolbar = PlotToolbar(self.timeline, (*self.panels, self.retention), self.save)
        self.toolbar.measure_changed.connect(lambda: self.timeline.lay_out_by(self.toolbar.ruler(self._record)))
        self.controls = QWidget()
        flow(self.smoothing, self.toolbar, parent=self.controls)

    def _tables(self) -> Tables:
        return {
            "steps": (tr("Losses, norms, scales and skips"), lambda: csv_export.step_rows(self._shown())),
            "validation": (tr("Validation and retention"), lambda: csv_export.measurement_rows(self._shown())),
        }

    def _shown(self) -> RunRecord:
        assert self._record is not None  # without one the page shows no menu
        return self._record

    def _pictures(self) -> Pictures:
        """Retention belongs to the loss, and the events to the scale, in a picture too."""
        return {
            "plots": (tr("All plots"), self),
            "loss": (self.loss.title, self.losses),
            "gradient-scale": (self.scale.title, self.scales),
            **{
                chart.key.replace("_", "-"): (chart.title, chart)
                for chart in (self.grad_norm, self.learning_rate, self.speed)
            },
        }

    def arrange(self, *, narrow: bool) -> None:
        """Give each chart its place; in a narrow page loss and gradient scale have rows of their own."""
        if narrow == self._narrow:
            return
        self._narrow = narrow
        for chart, place in zip(self.panels, _NARROW if narrow else _WIDE, strict=True):
            self._grid.addWidget(self.panels[chart], *place)
        rows = ((5, 31), (4, 24), (3, 17), (3, 17)) if narrow else ((5, 31), (3, 17), (0, 0), (0, 0))
        for row, (stretch, height) in enumerate(rows):
            self._grid.setRowStretch(row, stretch)
            self._grid.setRowMinimumHeight(row, theme.space(height) if height else 0)

    def _lay_out(self) -> None:
        self._grid = grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(theme.space(1.5))
        for column in range(_COLUMNS):
            grid.setColumnStretch(column, 1)
            grid.setColumnMinimumWidth(column, theme.space(3.5))
        self.arrange(narrow=False)


def _below(panel: ChartPanel, chart: LineChart, *parts: QWidget) -> QWidget:
    """Put parts below the chart of a panel; return the widget that holds them all, to be drawn in a picture."""
    panel.body.removeWidget(chart)
    whole = QWidget()
    vbox((chart, 1), *parts, spacing=0, parent=whole)
    panel.body.addWidget(whole, 1)
    return whole
