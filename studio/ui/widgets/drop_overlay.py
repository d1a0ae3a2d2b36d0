"""What lies over the window while something is dragged over it: a sentence that says what the drop will do."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QMimeData, QObject, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QFrame, QWidget

from studio.errors import StudioError
from studio.runner.opening import opening_words, together
from studio.ui.override import override
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Level


class DropOverlay(QFrame):
    """Covers its parent, which asks it at `dragEnterEvent`; `dropped` carries a list of `Opening`.

    Raises nothing: what cannot be opened is named by the sentence, and the drop is refused.
    """

    dropped = Signal(list)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._covered = parent
        self.setProperty("kind", "overlay")
        self.setAcceptDrops(True)
        self.words = label("", "title", wrap=True)
        self.words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        vbox(self.words, margins=6, parent=self)
        parent.installEventFilter(self)
        self.hide()

    def offer(self, event: QDragEnterEvent) -> None:
        """Say what the drop of local files will do, and take them if it does something."""
        paths = _local_paths(event.mimeData())
        if not paths:
            event.ignore()
            return
        try:
            self.show_words(opening_words(together(paths)))
        except StudioError as error:
            self.show_words(str(error), "bad")
        event.acceptProposedAction()

    def show_words(self, words: str, level: Level = "none") -> None:
        """Cover the parent with a sentence."""
        self.words.setText(words)
        self.words.setProperty("level", level if level == "bad" else None)
        self.words.style().polish(self.words)
        self.setAccessibleName(words)
        self.setGeometry(self._covered.rect())
        self.raise_()
        self.show()

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        self.offer(event)

    @override
    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.hide()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        self.hide()
        try:
            found = together(_local_paths(event.mimeData()))
        except StudioError:
            event.ignore()
            return
        event.acceptProposedAction()
        self.dropped.emit(found)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self.setGeometry(self._covered.rect())
        return False


def _local_paths(data: QMimeData) -> list[str]:
    return [url.toLocalFile() for url in data.urls() if url.isLocalFile()]
