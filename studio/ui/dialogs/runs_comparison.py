"""Finished runs, or those under way, beside each other: losses over one another, figures, and differing settings."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QDialog, QHeaderView, QWidget

from studio.engine.control import Progress
from studio.i18n import tr
from studio.runner.compare import Comparison, compare_runs, figure_rows, setting_rows
from studio.runner.record import RunRecord
from studio.runs import RunFolder
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.plots.overlaid import OverlaidChart
from studio.ui.plots.panel import ChartPanel
from studio.ui.plots.timeline import Timeline
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.table import comparison_table
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

MOST_RUNS = 3
"""Curves that can still be told from one another where they cover each other."""


class RunsComparison(QDialog):
    """Reads two or three runs as soon as it is opened, in the background."""

    def __init__(self, context: AppContext, folders: Sequence[RunFolder], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = tr("Runs compared")
        self.setWindowTitle(title)
        self.verdict = Verdict()
        titles = [tr("Run {number}").format(number=number) for number in range(1, len(folders) + 1)]
        self.chart = OverlaidChart(titles, Timeline(self))
        self.model = QStandardItemModel()
        self.model.setHorizontalHeaderLabels(["", *titles])
        self.table = comparison_table(self.model, title, 0)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().setMinimumSectionSize(theme.space(3.5))
        self.table.setMinimumHeight(theme.space(20))
        panel = ChartPanel(self.chart)
        panel.setMinimumHeight(theme.space(28))
        leave = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        leave.clicked.connect(self.reject)
        heading = label(tr("In what do these runs differ?"), "title")
        foot = hbox((self.verdict, 1), 0, leave, spacing=1)
        parts = ((panel, 1), (self.table, 1), foot)
        vbox(heading, *parts, spacing=1.5, margins=(3, 3, 3, 2), parent=self)
        resize_dialog(self, 170, 90)
        self._job = Job(self, context, tr("Reading the runs"))
        self._job.finished.connect(lambda found: self._show(*found))
        self._job.failed.connect(lambda sentence: self.verdict.set(sentence, "bad"))
        self.verdict.set(tr("Reading the runs"), "busy")
        self._job.start(lambda progress: _read(folders, progress))

    @override
    def done(self, result: int) -> None:
        """Stop reading, however the dialog ends."""
        self._job.drop()
        super().done(result)

    def _show(self, records: Sequence[RunRecord], compared: Comparison) -> None:
        self.verdict.set("" if compared.settings else tr("All settings are equal."))
        self.chart.show_runs(records)
        names = [tr("Name"), *(run.name for run in compared.runs)]
        for cells in (names, *figure_rows(compared), *setting_rows(compared)):
            items = [QStandardItem(cell) for cell in cells]
            for item in items:
                item.setEditable(False)
            for item in items[1:]:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.model.appendRow(items)
        self.table.resizeRowsToContents()


def _read(folders: Sequence[RunFolder], progress: Progress) -> tuple[list[RunRecord], Comparison]:
    records = [RunRecord.of_folder(folder, progress) for folder in folders]
    return records, compare_runs(records)
