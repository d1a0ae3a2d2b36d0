"""A place to drop files on, with the buttons that do the same."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QFrame, QWidget

from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.flow import flow
from studio.ui.widgets.text import label

LEAST = 30  # characters in a line of the words, beside the buttons


class DropArea(QFrame):
    """`dropped` carries the paths of local files."""

    dropped = Signal(list)

    def __init__(self, words: str, buttons: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "drop")
        self.setAcceptDrops(True)
        words_of_it = label(words, "muted", wrap=True)
        flow((words_of_it, 1, theme.characters(LEAST)), buttons, margins=(1.5, 1.25, 1.5, 1.25), parent=self)

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()
            self._warm(True)

    @override
    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._warm(False)

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        self._warm(False)
        event.acceptProposedAction()
        self.dropped.emit([url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()])

    def _warm(self, hot: bool) -> None:
        self.setProperty("hot", hot)
        self.style().polish(self)
