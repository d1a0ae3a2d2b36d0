"""One line for a long action: what it does, how far it is, and Cancel."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QProgressBar, QWidget

from studio.i18n import tr
from studio.text.transfer import TransferRate
from studio.text.words import progress_text
from studio.ui import motion
from studio.ui.override import override
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import ElidedLabel


class TaskProgress(QWidget):
    """Hidden until an action reports; `cancelled` is emitted when the user gives up on it."""

    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._words = ElidedLabel()
        self._rate = TransferRate()
        self.bar = ShareBar()
        self.cancel = push_button(tr("Cancel"), "quiet")
        self.cancel.clicked.connect(self._cancel)
        whole = vbox(self._words, self.bar, spacing=0.5)
        self._cancelling = False
        hbox((whole, 1), self.cancel, spacing=1.5, parent=self)
        self.hide()

    def report(self, stage: str, done: int, total: int) -> None:
        """Show how far the action is; `total` is 0 when that is not known."""
        if not self._cancelling:
            rate = self._rate.text(done, total) if stage == "downloading" and total else ""
            self._words.set_text(" · ".join(filter(None, (progress_text(stage, done, total), rate))))
            self.bar.show_share(done, total)
        self.show()

    @override
    def setVisible(self, visible: bool) -> None:
        """Hidden, the action has ended: the next one can be cancelled."""
        super().setVisible(visible)
        if not visible:
            self._cancelling = False
            self.cancel.setEnabled(True)

    def _cancel(self) -> None:
        """Say at once that the action is asked to end; that may take a while."""
        self._cancelling = True
        self.cancel.setEnabled(False)
        self._words.set_text(tr("Cancelling …"))
        self.bar.show_share(0, 0)
        self.cancelled.emit()


class ShareBar(QProgressBar):
    """A bar without words on it. One whose total is unknown runs to and fro, or is striped where motion is reduced."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._share: tuple[int, int] = (0, 1)
        self.setTextVisible(False)
        self.setAccessibleName(tr("Progress"))
        motion.notifier().changed.connect(self._show)

    def show_share(self, done: int, total: int) -> None:
        """Show done of total; a total of 0 is not known."""
        self._share = (done, total)
        self._show()

    def _show(self) -> None:
        done, total = self._share
        still = not total and motion.reduced()
        if still != bool(self.property("still")):
            self.setProperty("still", still)
            self.style().unpolish(self)
            self.style().polish(self)
        self.setRange(0, 1000 if total or still else 0)  # Qt's range has 32 bits
        self.setValue(1000 if still else min(1000, 1000 * done // total) if total else 0)
