"""Report a problem: what a report holds is said first, then it is written where the user wants it. Nothing is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from PySide6.QtWidgets import QDialog, QFileDialog, QWidget

from studio.i18n import tr
from studio.runner.bug_report import CONTENTS, bundle_in_child
from studio.runs import RunFolder
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.folders import show_folder
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.card import Card
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class ReportDialog(QDialog):
    """Writes what `finetune-studio doctor --bundle` does.

    Args:
        run: the run that the report is about, None for the newest one.
    """

    def __init__(self, context: AppContext, run: RunFolder | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Report a problem"))
        offer_guide(self, "setup")
        self._context, self._run = context, run
        self._path = Path()
        self.verdict = Verdict()
        self.save = push_button(tr("Save the report …"), "primary", "save", tr("Choose where the zip file is written"))
        self.folder = push_button(tr("Open folder"), "plain", "folder", tr("Show the file, to look into it"))
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        self.leave.setAutoDefault(False)
        self.save.setDefault(True)
        self.folder.hide()
        self.save.clicked.connect(self._choose)
        self.folder.clicked.connect(lambda: show_folder(context, self._path.parent))
        self.leave.clicked.connect(self.reject)
        self._job = Job(self, context, tr("Writing the report"))
        self._job.finished.connect(lambda _: self._show_written())
        self._job.failed.connect(self._show_failed)
        self._lay_out()

    @override
    def done(self, result: int) -> None:
        """Let nothing be told to a dialog that is closed."""
        self._job.drop()
        super().done(result)

    def _choose(self) -> None:
        name = f"finetune-studio-report-{datetime.now(UTC):%Y%m%d-%H%M}.zip"
        chosen, _ = QFileDialog.getSaveFileName(self, tr("Save the report"), str(Path.home() / name), "ZIP (*.zip)")
        if chosen:
            self._path = path = Path(chosen)
            run, root = self._run, self._context.runs_root
            self.save.setEnabled(False)
            self.verdict.set(tr("Writing the report …"), "busy")
            self._job.start(lambda progress: bundle_in_child(path, run, root, progress))

    def _show_written(self) -> None:
        self.verdict.set(tr("Written: {path}").format(path=self._path), "good")
        self.save.setEnabled(True)
        self.folder.show()

    def _show_failed(self, sentence: str) -> None:
        self.verdict.set(sentence, "bad")
        self.save.setEnabled(True)

    def _lay_out(self) -> None:
        about = tr(
            "A zip file with what is needed to find a problem. It is only written to this computer: look into it, and "
            "pass it on yourself."
        )
        kept_out = tr(
            "Your data, the model, what it answers, tokens and passwords do not go along. Settings name files by their "
            "last part alone. Error messages in the logs may name other paths, and quote a few words of a row."
        )
        inside = Card(tr("What is inside"))
        for name, words in CONTENTS.items():
            file = label(name, "value")
            file.setMinimumWidth(theme.characters(22))
            inside.body.addLayout(hbox(file, (label(tr(words), "muted", wrap=True), 1), spacing=1.5))
        vbox(
            label(tr("Report a problem"), "title"),
            label(about, "muted", wrap=True),
            inside,
            label(kept_out, wrap=True),
            STRETCH,
            self.verdict,
            hbox(self.folder, STRETCH, self.leave, self.save, spacing=1),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        resize_dialog(self, 110, 56)
        self.save.setFocus()
