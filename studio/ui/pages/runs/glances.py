"""What is seen of the runs at a glance, for the rows that the table shows: the others are left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from studio.engine.control import Progress
from studio.i18n import tr
from studio.runs import Glance, RunFolder, glance_at
from studio.ui.bridge import AppContext
from studio.ui.job import Job
from studio.ui.models.runs import RunsFilter, RunsModel
from studio.ui.pages.runs.table import RunsTable


class Glances(QObject):
    """Looks, in the background, at the runs that the table shows; at all of them while they are sorted by their size.

    A run is looked at once until the list of runs is read anew.
    """

    def __init__(self, context: AppContext, table: RunsTable, rows: RunsFilter, model: RunsModel) -> None:
        super().__init__(table)
        self._table, self._rows, self._model = table, rows, model
        self._known: set[Path] = set()
        self.job = Job(self, context, tr("Measuring the runs"))
        self.job.finished.connect(self._show)
        # One look for all that happens at once, and only after the table has its new rows in their places.
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._look)
        rows.modelReset.connect(self._known.clear)
        bar = table.verticalScrollBar()
        for moved in (rows.modelReset, rows.layoutChanged, rows.rowsInserted, rows.rowsRemoved):
            moved.connect(self._look_soon)
        for scrolled in (bar.valueChanged, bar.rangeChanged):
            scrolled.connect(self._look_soon)

    def _look_soon(self) -> None:
        self._soon.start()

    def _look(self) -> None:
        if self.job.running or not self._table.isVisible():
            return
        rows = range(self._rows.rowCount()) if self._model.sorted_by_size else self._table.rows_in_view()
        folders = [self._rows.run(self._rows.index(row, 0)).folder for row in rows]
        unknown = [folder for folder in folders if folder.path not in self._known]
        if unknown:
            self.job.start(lambda progress: _glances(unknown, progress))

    def _show(self, seen: Mapping[Path, Glance]) -> None:
        self._known.update(seen)
        self._model.show_glances(seen)
        self._soon.start()  # for the rows that were scrolled into view meanwhile


def _glances(folders: Sequence[RunFolder], progress: Progress) -> dict[Path, Glance]:
    seen = {}
    for done, folder in enumerate(folders):
        progress("reading_runs", done, len(folders))
        seen[folder.path] = glance_at(folder)
    return seen
