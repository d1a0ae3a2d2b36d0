"""Going on with runs: those that the user continues, and those that were left when the app was closed or crashed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from studio.errors import StudioError
from studio.i18n import tr
from studio.runner.continuing import LeftRuns, find_left_runs, more_epochs
from studio.runs import RunFolder
from studio.ui.bridge import AppContext
from studio.ui.job import Job

if TYPE_CHECKING:
    from studio.runner.record import RunRecord


class Continuing(QObject):
    """Reads a run in the background before it is continued, and looks once for the runs that were left.

    `found_cut_off` carries the `LeftRuns` of which some were cut off and not dismissed.
    """

    found_cut_off = Signal(object)

    def __init__(self, context: AppContext, parent: QObject) -> None:
        super().__init__(parent)
        self._context = context
        self._epochs = 0.0
        self._reading = Job(self, context, tr("Reading the run"))
        self._looking = Job(self, context, tr("Looking for runs that were left"))
        self._reading.finished.connect(self._go_on)
        self._looking.finished.connect(self._take_up)
        for job in (self._reading, self._looking):
            job.failed.connect(context.message)
        context.continue_requested.connect(self.go_on)

    def look(self) -> None:
        """Find the run that goes on in its own process, and show it; find those that were cut off."""
        root = self._context.runs_root
        self._looking.start(lambda progress: find_left_runs(root, progress))

    def go_on(self, folder: RunFolder, epochs: float = 0.0) -> None:
        """Continue a run from its newest checkpoint, with so many epochs more than it was to have."""
        from studio.runner.record import RunRecord

        self._epochs = epochs
        self._reading.start(lambda progress: RunRecord.of_folder(folder, progress))

    def _go_on(self, record: RunRecord) -> None:
        try:
            self._context.continue_run(record, more_epochs(record, self._epochs) if self._epochs else ())
        except StudioError as error:
            self._context.message.emit(str(error))
        else:
            self._context.go_to("train")

    def _take_up(self, left: LeftRuns) -> None:
        if left.alive and not self._context.controller.running:
            try:
                self._context.attach_run(left.alive[0])
            except StudioError as error:
                self._context.message.emit(str(error))
            else:
                self._context.go_to("train")
        if left.cut_off and left.cut_off[0].key != self._context.settings.dismissed:
            self.found_cut_off.emit(left)
