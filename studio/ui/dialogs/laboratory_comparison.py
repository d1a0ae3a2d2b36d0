"""Several runs one after the other, their losses laid over one another while they come."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.config import read_config
from studio.errors import StudioError
from studio.i18n import tr
from studio.runner.laboratory import Experiment
from studio.runner.record import RunRecord
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.plots.overlaid import OverlaidChart
from studio.ui.plots.panel import ChartPanel
from studio.ui.plots.timeline import Timeline
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.verdict import Verdict


class Comparison(QWidget):
    """Hidden until a comparison starts; `ended` is emitted when its last run has ended, or it was given up."""

    ended = Signal()

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._files: list[Path] = []
        self._titles: list[str] = []
        self._under_way: RunRecord | None = None
        self.records: list[RunRecord] = []
        self.panel: ChartPanel | None = None
        self.verdict = Verdict()
        self._column = vbox(self.verdict, parent=self)
        context.progressed.connect(self._refresh)
        context.run_state_changed.connect(self._go_on)
        self.hide()

    @property
    def running(self) -> bool:
        """Whether a run of the comparison is under way."""
        return self._under_way is not None

    def start(self, experiment: Experiment, files: list[Path]) -> None:
        """Train every file in turn."""
        self._files, self._titles, self.records = list(files), list(experiment.runs), []
        if self.panel is not None:
            self.panel.deleteLater()
        self.panel = ChartPanel(OverlaidChart(self._titles, Timeline(self)))
        self.panel.title.setText(experiment.title)
        self.panel.setFixedHeight(theme.space(34))
        self._column.addWidget(self.panel)
        self.show()
        self._next()

    def stop(self) -> None:
        """Give up what is left, and end the run under way."""
        self._files = []
        if self._under_way is not None:
            self._context.controller.stop()

    def _next(self) -> None:
        if not self._files:
            self._end(tr("All runs have ended; each is on the Runs page with its own numerics."))
            return
        try:
            self._context.start_run(read_config(self._files.pop(0)))
        except StudioError as error:
            self._files = []
            self._end(str(error), bad=True)
            return
        self._under_way = self._context.live
        assert self._under_way is not None
        self.records.append(self._under_way)
        words = tr("Run {number} of {count}: {title}")
        number, count = len(self.records), len(self._titles)
        self.verdict.set(words.format(number=number, count=count, title=tr(self._titles[number - 1])), "busy")
        self._refresh()

    def _go_on(self) -> None:
        """A run that has ended makes room for the next."""
        if self._under_way is None or self._context.controller.running or not self._under_way.state.ended:
            return
        self._under_way = None
        self._refresh()
        self._next()

    def _end(self, sentence: str, *, bad: bool = False) -> None:
        self._under_way = None
        self.verdict.set(sentence, "bad" if bad else "good")
        self.ended.emit()

    def _refresh(self) -> None:
        if self.panel is not None and self.records:
            chart = self.panel.chart
            assert isinstance(chart, OverlaidChart)
            chart.show_runs(self.records)
