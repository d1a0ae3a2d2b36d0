"""Closing the window while something works: ask, then wait for the workers without blocking, then close."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from studio.i18n import tr
from studio.ui.bridge import POLL_MILLISECONDS, AppContext


class Closing(QObject):
    """`waiting` says that the workers were asked to end, `ended` that none lives any more.

    Nothing here terminates a thread or blocks the event loop: exiting with a live worker would abort the process.
    """

    waiting = Signal()
    ended = Signal()

    def __init__(self, context: AppContext, window: QWidget) -> None:
        super().__init__(window)
        self._context = context
        self._window = window
        self._timer = QTimer(self, interval=POLL_MILLISECONDS)
        self._timer.timeout.connect(self._look)
        self.question: QMessageBox | None = None

    def may_close(self) -> bool:
        """Return whether the window can close now; otherwise see to it that it can later, or ask."""
        if not self._context.busy:
            return True
        if self._timer.isActive():
            return False
        if self._context.controller.running and not self._context.survives_closing:
            self._ask()
        else:
            self.end()
        return False

    def end(self, *, save: bool = True) -> None:
        """Ask every worker to end; `ended` follows."""
        self._context.cancel_all(save=save)
        self.waiting.emit()
        self._timer.start()

    def _ask(self) -> None:
        if self.question is not None:
            self.question.raise_()
            return
        from studio.ui.dialogs.guide import offer_guide

        self.question = box = QMessageBox(self._window)
        box.setIcon(QMessageBox.Icon.NoIcon)
        box.setWindowTitle(tr("A run is under way"))
        offer_guide(box, "train", "pause")
        box.setText(tr("A run is under way."))
        box.setInformativeText(tr("Stopping saves what was learnt so far; the run can be exported."))
        stop = box.addButton(tr("Stop and save"), QMessageBox.ButtonRole.AcceptRole)
        stay = box.addButton(tr("Keep training"), QMessageBox.ButtonRole.RejectRole)
        discard = box.addButton(tr("Quit without saving"), QMessageBox.ButtonRole.DestructiveRole)
        for button, kind in ((stop, "primary"), (stay, "plain"), (discard, "danger")):
            button.setProperty("kind", kind)
            button.style().polish(button)
        box.setDefaultButton(stop)
        box.setEscapeButton(stay)
        box.finished.connect(lambda _: self._answered(box.clickedButton() is stop, box.clickedButton() is discard))
        box.open()

    def _answered(self, stop: bool, discard: bool) -> None:
        assert self.question is not None
        self.question.deleteLater()
        self.question = None
        if stop or discard:
            self.end(save=stop)

    def _look(self) -> None:
        if not self._context.busy:
            self._timer.stop()
            self.ended.emit()
