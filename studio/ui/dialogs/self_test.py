"""The self-test in the window: trains the starter model for some seconds, and shows what came of it."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QWidget

from studio.i18n import tr
from studio.runner.self_test import SECONDS, SelfTest, self_test
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.self_test_picture import SelfTestPicture
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class SelfTestDialog(QDialog):
    """Begins as soon as it is opened; it can be given up, and done again."""

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Self-test"))
        offer_guide(self, "train", "figures")
        self._job = Job(self, context, tr("Self-test"))
        self.picture: SelfTestPicture | None = None
        self.verdict, self.progress = Verdict(), TaskProgress()
        self.again = push_button(tr("Test again"), "plain", "refresh", tr("Train for some seconds once more"))
        self.leave = push_button(tr("Close"), "primary", tooltip=tr("Close (Esc)"))
        for button in (self.again, self.progress.cancel):
            button.setAutoDefault(False)
        about = tr(
            "The starter model learns two short rows for {seconds} seconds. Where training works on this computer, "
            "its loss falls towards 0. Nothing is kept."
        )
        self._room = QWidget()
        self._column = vbox(parent=self._room)
        vbox(
            label(tr("Does training work here?"), "title"),
            label(about.format(seconds=int(SECONDS)), "muted", wrap=True),
            (self._room, 1),
            self.progress,
            self.verdict,
            hbox(self.again, STRETCH, self.leave, spacing=1),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        self._job.finished.connect(self._show)
        self._job.failed.connect(self._fail)
        self._job.cancelled.connect(lambda: self._end(tr("Cancelled."), bad=False))
        self._job.progressed.connect(self.progress.report)
        self.progress.cancelled.connect(self._job.cancel)
        self.again.clicked.connect(self.begin)
        self.leave.clicked.connect(self.accept)
        resize_dialog(self, 110, 62)
        self.begin()

    def begin(self) -> None:
        """Train, from the start."""
        if self.picture is not None:
            self.picture.deleteLater()
            self.picture = None
        self.verdict.set("")
        self.again.setEnabled(False)
        self.progress.report("starting", 0, 0)
        self.progress.cancel.setFocus()
        self._job.start(self_test)

    @override
    def done(self, result: int) -> None:
        """End the training, however the dialog ends."""
        self._job.drop()
        super().done(result)

    def _show(self, found: SelfTest) -> None:
        self._end("", bad=False)
        self.picture = SelfTestPicture(found)
        self.picture.chart.setMinimumHeight(theme.space(20))
        self._column.addWidget(self.picture)

    def _fail(self, sentence: str) -> None:
        self._end(sentence, bad=True)

    def _end(self, sentence: str, *, bad: bool) -> None:
        self.progress.hide()
        self.again.setEnabled(True)
        self.verdict.set(sentence, "bad" if bad else "none")
        self.leave.setFocus()
