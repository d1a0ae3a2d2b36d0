"""The Numerics page: what happens inside the model, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QStackedLayout, QWidget

from studio.events import NumericsSampled
from studio.i18n import tr
from studio.runner.numerics import recorded_scale, sample_at
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.models.run_summary import method_title
from studio.ui.override import override
from studio.ui.page import Page
from studio.ui.pages.numerics.events import EventPanel
from studio.ui.pages.numerics.figures import NumericsFigures
from studio.ui.pages.numerics.histogram import HistogramCard
from studio.ui.pages.numerics.module_cards import HistoryCard, MapCard
from studio.ui.plots import csv_export
from studio.ui.plots.lane.events import Event
from studio.ui.plots.lane.lane import EventLane
from studio.ui.plots.pace import Pace
from studio.ui.plots.panel import ChartPanel
from studio.ui.plots.save_menu import Pictures, Rows, SaveMenu, Tables
from studio.ui.plots.scale import ScaleChart
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.toolbar import PlotToolbar
from studio.ui.widgets.empty import NoRun
from studio.ui.widgets.flow import flow
from studio.ui.widgets.layout import hbox, scrolled, vbox
from studio.ui.widgets.text import ElidedLabel

# Row, column, and how many of each: scale, histogram, verdict, map, history.
_WIDE = ((0, 0), (0, 1), (0, 2), (1, 0, 1, 2), (1, 2))
_NARROW = ((0, 0), (0, 1), (1, 0, 1, 2), (2, 0, 1, 2), (3, 0, 1, 2))
_NARROW_CHARACTERS = 140


class NumericsPage(Page):
    """Shows the run that trains, or a past one: both are a record.

    The histogram follows the newest sample, unless a cell of the map or an event was clicked, whose sample it then
    keeps; while the mouse is over a step in a chart, it shows the sample of that step.
    """

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("numerics_page")
        self.setAccessibleName(tr("Numerics"))
        self._context = context
        self._record: RunRecord | None = None
        self._pinned: int | None = None
        self.timeline = Timeline(self)
        self.heading, self.about = ElidedLabel("", "heading"), ElidedLabel("", "muted")
        self.figures, self.events, self.histogram = NumericsFigures(), EventPanel(), HistogramCard()
        self.scale, self.lane = ChartPanel(ScaleChart(self.timeline)), EventLane(self.timeline)
        self.modules, self.history = MapCard(self.timeline), HistoryCard(self.timeline)
        self.counts = ElidedLabel("", "caption")
        self.save = SaveMenu(context, self, self._tables(), self._pictures())
        self.toolbar = PlotToolbar(self.timeline, (self.scale.chart,), self.save)
        sentence = tr("Start a run and see its gradient scale, every overflow explained, and every layer's numbers.")
        self.empty = NoRun(context, "numerics", tr("No run yet"), sentence)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self._make_body())
        self._level_headers()
        self._pace = Pace(self._catch_up, self)
        self._connect()
        self.show_record(context.record)

    @override
    def show_record(self, record: RunRecord | None) -> None:
        """Show another run, or none."""
        self._stack.setCurrentIndex(0 if record is None else 1)
        self._record, self._pinned = record, None
        self._pace.forget()
        steps, planned = (record.state.step, record.state.planned_updates) if record else (0, 0)
        self.timeline.restart(steps, planned, self.toolbar.ruler(record))
        self.histogram.start_anew()
        for shown in (self.scale, self.lane, self.modules, self.history, self.events):
            shown.show_record(record)
        if record is not None:
            self._catch_up()

    @override
    def refresh(self) -> None:
        """Take in what the run has become: draw now, or as soon as the pace allows."""
        if self._record is not None:
            self._pace.ask()

    def _catch_up(self) -> None:
        record = self._record
        if record is None:
            return
        state = record.state
        self.heading.set_text(state.model or (record.folder.name if record.folder else tr("New run")))
        self.about.set_text(" · ".join(p for p in (method_title(state.method), state.precision, state.device) if p))
        self.figures.show_record(record)
        self.events.set_under_way(self._context.shows_training)
        self.events.refresh()
        self.timeline.grow(state.step, state.planned_updates)
        self.scale.refresh()
        self.lane.refresh()
        self.counts.set_text(self.lane.counts())
        self._show_samples()

    def _show_samples(self) -> None:
        """Draw the charts of the samples again when there is a new sample."""
        heat = self.modules.map
        if self._record is not None and len(heat.matrix) != len(self._record.samples):
            heat.take_in()
            heat.refresh()
        self.history.follow(heat)
        self._show_histogram()

    def _show_histogram(self) -> None:
        sample = self._shown_sample()
        scale = recorded_scale(self._record, sample) if self._record and sample else None
        newest = self._pinned is None
        self.histogram.show_sample(sample, scale, self.modules.map.empty_message().strip(), newest=newest)

    def _shown_sample(self) -> NumericsSampled | None:
        step = self._pinned if self.timeline.cursor is None else self.timeline.cursor
        return None if self._record is None else sample_at(self._record.samples, step)

    def _pin(self, step: int | None) -> None:
        """Keep showing the sample of a step; None follows the newest one again."""
        self._pinned = step
        if step is None:
            self.modules.map.choose(None)
        self._show_samples()

    def _pick(self, event: Event | None) -> None:
        self.events.pick(event)
        if event is not None:
            self._pin(event.step)

    def _connect(self) -> None:
        self.timeline.cursor_changed.connect(self._show_histogram)
        self.toolbar.measure_changed.connect(lambda: self.timeline.lay_out_by(self.toolbar.ruler(self._record)))
        self.lane.picked.connect(self._pick)
        self.modules.map.chosen.connect(lambda _module, step: self._pin(step))
        self.modules.direction.changed.connect(self._show_samples)
        self.modules.statistic.changed.connect(self._show_samples)
        self.histogram.follow.clicked.connect(lambda: self._pin(None))
        self.events.remedies.chosen.connect(self._context.apply_remedy)

    def _tables(self) -> Tables:
        tables: dict[str, tuple[str, Callable[[RunRecord], Rows]]] = {
            "modules": (tr("Modules over steps"), _modules),
            "exponents": (tr("Exponents"), lambda record: csv_export.histogram_rows(list(record.samples))),
            "scales": (
                tr("Shares at every scale"),
                lambda record: csv_export.scale_rows(record.samples[-1:], range(33)),
            ),
            "steps": (tr("Losses, norms, scales and skips"), csv_export.step_rows),
            "verdicts": (tr("Verdicts"), csv_export.verdict_rows),
        }
        return {name: (title, partial(self._rows, rows)) for name, (title, rows) in tables.items()}

    def _rows(self, rows: Callable[[RunRecord], Rows]) -> Rows:
        assert self._record is not None  # without one the page shows no menu
        return rows(self._record)

    def _pictures(self) -> Pictures:
        self.scale_picture = QWidget()
        self.scale.body.removeWidget(self.scale.chart)
        vbox((self.scale.chart, 1), self.lane, spacing=0, parent=self.scale_picture)
        self.scale.body.addWidget(self.scale_picture, 1)
        self.scale.body.addWidget(self.counts)
        return {
            "gradient-scale": (tr("Gradient scale"), self.scale_picture),
            "headroom": (tr("Headroom"), self.figures.headroom),
            "exponents": (tr("Exponents"), self.histogram.view),
            "modules": (tr("Modules over steps"), self.modules.picture),
            "module": (tr("Module history"), self.history.history),
        }

    def _level_headers(self) -> None:
        """Give all headers the same height, whether or not they hold a switch, so that the titles are level."""
        for card in (self.scale, self.histogram, self.events, self.modules, self.history):
            card.header.addStrut(self.histogram.of.sizeHint().height())
            card.set_margins((2, 0.75, 1.25, 0.75))

    def _make_body(self) -> QWidget:
        body = QWidget()
        title = flow((hbox(self.heading, (self.about, 1), spacing=1.5), 1), self.toolbar, spacing=1.5)
        parts = (title, self.figures, (self._make_grid(), 1))
        vbox(*parts, spacing=1.25, margins=(2, 1.25, 2, 1.25), parent=body)
        return scrolled(body, tr("Numerics"))

    def _make_grid(self) -> QGridLayout:
        self._grid = grid = QGridLayout()
        grid.setSpacing(theme.space(1.25))
        self._arrange(narrow=False)
        return grid

    def _arrange(self, *, narrow: bool) -> None:
        """Scale, histogram and verdict above; the map and a module's history below, in line with them.

        In a narrow window verdict and history have rows of their own, as their words would be cut beside the others.
        """
        self._narrow, grid = narrow, self._grid
        places = _NARROW if narrow else _WIDE
        for card, place in zip(
            (self.scale, self.histogram, self.events, self.modules, self.history), places, strict=True
        ):
            grid.addWidget(card, *place)
        for column, stretch in enumerate((10, 14, 0 if narrow else 9)):
            grid.setColumnStretch(column, stretch)
            grid.setColumnMinimumWidth(column, theme.space(8) if stretch else 0)
        heights = ((11, 33), (0, 20), (10, 28), (10, 28)) if narrow else ((11, 33), (10, 28), (0, 0), (0, 0))
        for row, (stretch, height) in enumerate(heights):
            grid.setRowStretch(row, stretch)
            grid.setRowMinimumHeight(row, theme.space(height) if height else 0)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow = event.size().width() < theme.characters(_NARROW_CHARACTERS)
        if narrow != self._narrow:
            self._arrange(narrow=narrow)


def _modules(record: RunRecord) -> Rows:
    names = record.numerics.modules if record.numerics else []
    return csv_export.module_rows(names, list(record.samples))
