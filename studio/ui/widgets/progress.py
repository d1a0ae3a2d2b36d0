"""One line for a long action: what it does, how far it is, and Cancel."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QProgressBar, QWidget

from studio.i18n import tr
from studio.text.transfer import TransferRate
from studio.text.words import progress_text
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
        self.bar = thin_bar()
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
            show_share(self.bar, done, total)
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
        show_share(self.bar, 0, 0)
        self.cancelled.emit()


def thin_bar() -> QProgressBar:
    """Return a progress bar without words on it."""
    bar = QProgressBar()
    bar.setTextVisible(False)
    bar.setAccessibleName(tr("Progress"))
    return bar


def show_share(bar: QProgressBar, done: int, total: int) -> None:
    """Show done of total, scaled to what Qt's 32-bit range holds; a total of 0 is an endless bar."""
    bar.setRange(0, 1000 if total else 0)
    bar.setValue(min(1000, 1000 * done // total) if total else 0)
