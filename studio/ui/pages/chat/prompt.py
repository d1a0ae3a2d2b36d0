"""Where the question is typed."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from studio.i18n import tr
from studio.ui import theme
from studio.ui.override import override

_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class PromptBox(QPlainTextEdit):
    """Enter sends, and so does Ctrl+Enter; Shift+Enter begins a new line."""

    sent = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(tr("Your question"))
        self.setPlaceholderText(tr("Ask both models something"))
        self.setToolTip(tr("Enter sends, Shift+Enter begins a new line, Esc stops the answers"))
        self.setTabChangesFocus(True)
        self.setFixedHeight(theme.space(9))

    @override
    def event(self, event: QEvent) -> bool:
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and event.key() in _ENTER
            and event.modifiers() & Qt.KeyboardModifier.ControlModifier
        ):
            event.accept()  # here Ctrl+Enter sends; elsewhere in the window it starts a training
            return True
        return super().event(event)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in _ENTER and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.sent.emit()
            return
        super().keyPressEvent(event)
