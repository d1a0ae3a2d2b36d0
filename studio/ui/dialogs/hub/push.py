"""Putting an export on the hub."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QCheckBox, QDialog, QLineEdit, QWidget

from studio.i18n import tr
from studio.runner import actions
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.dialogs.hub.choice import HubChoice
from studio.ui.job import Job
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class PushDialog(QDialog):
    """Asks for the name of the repository, and sends an export that has passed."""

    def __init__(self, context: AppContext, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder = folder
        self._push = Job(self, context, tr("Putting the export on the hub"))
        self.setWindowTitle(tr("Put the export on the hub"))
        offer_guide(self, "export", "certificate")
        self.repository = QLineEdit()
        self.repository.setPlaceholderText(tr("owner/name"))
        self.repository.setAccessibleName(tr("Repository"))
        self.private = QCheckBox(tr("Private: only its owner can see it"))
        self.private.setChecked(True)
        self.hub, self.verdict, self.progress = HubChoice(context), Verdict(), TaskProgress()
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close; what is not sent yet is not sent (Esc)"))
        self.send = push_button(tr("Send"), "primary", "send")
        for button in (self.leave, self.send):
            button.setAutoDefault(False)
        self._lay_out()
        self.repository.textChanged.connect(self._judge)
        self.repository.returnPressed.connect(self._start)
        self.leave.clicked.connect(self.reject)
        self.send.clicked.connect(self._start)
        self.progress.cancelled.connect(self._push.cancel)
        self._push.progressed.connect(self.progress.report)
        self._push.finished.connect(lambda page: self._ended(tr("It is on {page}").format(page=page), sent=True))
        self._push.failed.connect(self._ended)
        self._push.cancelled.connect(lambda: self._ended(tr("Cancelled; nothing of it is in the repository.")))
        self._judge()

    @override
    def done(self, result: int) -> None:
        """Stop the background work, however the dialog ends."""
        self._push.drop()
        super().done(result)

    def _lay_out(self) -> None:
        about = tr(
            "The files that were certified, the model card and the certificate, in one commit. The repository is made "
            "where there is none. The token must be one that may write."
        )
        name = label(tr("Repository"))
        name.setBuddy(self.repository)
        vbox(
            label(tr("Put the export on the hub"), "title"),
            label(about, "muted", wrap=True),
            vbox(name, self.repository, spacing=0.25),
            self.private,
            self.hub,
            self.verdict,
            self.progress,
            STRETCH,
            hbox(STRETCH, self.leave, self.send, spacing=1),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )
        resize_dialog(self, 110, 44)

    def _judge(self) -> None:
        owner, _, name = self.repository.text().strip().partition("/")
        complete = bool(owner and name)
        self.send.setEnabled(complete and not self._push.running)
        self.send.setToolTip(tr("Send it (Enter)") if complete else tr("Give the repository as owner/name first."))

    def _start(self) -> None:
        if not self.send.isEnabled():
            return
        folder, repository, private = self._folder, self.repository.text().strip(), self.private.isChecked()
        self.verdict.set("")
        self._push.start(lambda progress: actions.push_export(folder, repository, progress, private=private))
        self._judge()

    def _ended(self, sentence: str, *, sent: bool = False) -> None:
        self.progress.hide()
        self.verdict.set(sentence, "good" if sent else "bad")
        self._judge()
