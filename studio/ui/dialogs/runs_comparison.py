"""Finished runs, or those under way, beside each other: losses over one another, figures, and differing settings."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QPixmap, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QDialog, QWidget

from studio.engine.control import Progress
from studio.i18n import tr
from studio.runner.compare import Comparison, compare_runs, figure_rows, setting_rows
from studio.runner.record import RunRecord
from studio.runs import RunFolder
from studio.text.visible import in_line
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.job import Job
from studio.ui.models.setting_changes import setting_title
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.plots import csv_export
from studio.ui.plots.overlaid import OverlaidChart, OverlaidScale
from studio.ui.plots.panel import ChartPanel
from studio.ui.plots.save_menu import SaveMenu
from studio.ui.plots.smoothing import Smoothing
from studio.ui.plots.timeline import Timeline
from studio.ui.plots.toolbar import PlotToolbar
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.table import ComparisonTable
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class RunsComparison(QDialog):
    """Reads the runs as soon as it is opened, in the background."""

    def __init__(self, context: AppContext, folders: Sequence[RunFolder], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = tr("Runs compared")
        self.setWindowTitle(title)
        offer_guide(self, "runs", "compare")
        self.verdict = Verdict()
        titles = [tr("Run {number}").format(number=number) for number in range(1, len(folders) + 1)]
        self.timeline = Timeline(self)
        self.chart, self.scale = OverlaidChart(titles, self.timeline), OverlaidScale(titles, self.timeline)
        self._records: Sequence[RunRecord] = ()
        self._cells: list[list[str]] = []
        self.model = QStandardItemModel()
        self.model.setHorizontalHeaderLabels(["", *titles])
        self.table = ComparisonTable(self.model, title)
        self.table.verticalHeader().setMinimumSectionSize(theme.space(3.5))
        self.table.setMinimumHeight(theme.space(20))
        self.panels = [ChartPanel(chart) for chart in (self.chart, self.scale)]
        self._make_controls(context)
        leave = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        leave.clicked.connect(self.reject)
        heading = hbox(
            (label(tr("In what do these runs differ?"), "title"), 1), self.smoothing, self.toolbar, spacing=1
        )
        foot = hbox((self.verdict, 1), 0, leave, spacing=1)
        parts = ((self.plots, 1), (self.table, 1), foot)
        vbox(heading, *parts, spacing=1.5, margins=(3, 3, 3, 2), parent=self)
        resize_dialog(self, 170, 90)
        self._job = Job(self, context, tr("Reading the runs"))
        theme.notifier().changed.connect(self._show_colours)
        self._job.finished.connect(lambda found: self._show(*found))
        self._job.failed.connect(lambda sentence: self.verdict.set(sentence, "bad"))
        self.verdict.set(tr("Reading the runs"), "busy")
        self._job.start(lambda progress: _read(folders, progress))

    @override
    def done(self, result: int) -> None:
        """Stop reading, however the dialog ends."""
        self._job.drop()
        super().done(result)

    def _make_controls(self, context: AppContext) -> None:
        self.plots = QWidget()
        hbox((self.panels[0], 5), (self.panels[1], 3), spacing=1.5, parent=self.plots)
        self.plots.setMinimumHeight(theme.space(28))
        self.smoothing = Smoothing(1, tr("Show the mean of so many steps instead of every raw value"))
        self.smoothing.changed.connect(lambda: self.chart.set_window(self.smoothing.steps))
        tables = {
            "compared-steps": (
                tr("Losses, norms, scales and skips"),
                lambda: csv_export.rows_of_runs(self._records, csv_export.step_rows),
            ),
            "compared-validation": (
                tr("Validation and retention"),
                lambda: csv_export.rows_of_runs(self._records, csv_export.measurement_rows),
            ),
            "compared-runs": (tr("Figures and settings"), lambda: self._cells),
        }
        pictures = {
            "compared-plots": (tr("All plots"), self.plots),
            "compared-loss": (self.chart.title, self.panels[0]),
            "compared-gradient-scale": (self.scale.title, self.panels[1]),
        }
        self.save = SaveMenu(context, self, tables, pictures)
        self.toolbar = PlotToolbar(self.timeline, (self.chart, self.scale), self.save, by="update")
        self.toolbar.measure_changed.connect(self._lay_out)
        self.toolbar.setEnabled(False)

    def _lay_out(self) -> None:
        """Lay all runs out by updates, tokens or time."""
        for chart in (self.chart, self.scale):
            chart.show_runs(self._records, self.toolbar.measure)

    def _show(self, records: Sequence[RunRecord], compared: Comparison) -> None:
        self.verdict.set("" if compared.settings else tr("All settings are equal."))
        self._records = records
        self._lay_out()
        self.toolbar.setEnabled(True)
        settings = [[setting_title(key), *values] for key, *values in setting_rows(compared)]
        names = [tr("Name"), *(run.name for run in compared.runs)]
        self._cells = [names, *settings, *figure_rows(compared)]
        for cells in self._cells:
            items = [QStandardItem(in_line(cell)) for cell in cells]
            for item in items:
                item.setEditable(False)
            for item in items[1:]:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.model.appendRow(items)
        self._show_colours()
        self.table.resizeRowsToContents()

    def _show_colours(self) -> None:
        """Give every column of the table the colour of its run's curves."""
        for column, curve in enumerate(self.chart.curves, start=1):
            swatch = QPixmap(theme.space(2), theme.space(0.5))
            swatch.fill(getattr(theme.palette(), curve.style.colour))
            self.model.setHeaderData(column, Qt.Orientation.Horizontal, swatch, Qt.ItemDataRole.DecorationRole)


def _read(folders: Sequence[RunFolder], progress: Progress) -> tuple[list[RunRecord], Comparison]:
    records = [RunRecord.of_folder(folder, progress) for folder in folders]
    return records, compare_runs(records)
