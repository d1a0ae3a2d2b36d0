"""Labels in the roles of the type scale."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from studio.text.visible import in_line
from studio.ui.override import override

Role = Literal["title", "heading", "body", "caption", "muted", "error", "value"]


def label(text: str, role: Role = "body", parent: QWidget | None = None, *, wrap: bool = False) -> QLabel:
    """Return a label whose font and colour the style sheet gives by its role. Text is never read as HTML."""
    result = QLabel(text, parent)
    result.setTextFormat(Qt.TextFormat.PlainText)
    result.setProperty("role", role)
    result.setWordWrap(wrap)
    return result


class ElidedLabel(QLabel):
    """One line that is cut with an ellipsis when there is no room; the whole text is its tooltip."""

    def __init__(
        self,
        text: str = "",
        role: Role = "muted",
        parent: QWidget | None = None,
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
    ) -> None:
        super().__init__(parent)
        self._whole = ""
        self._mode = mode
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("role", role)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.set_text(text)

    @property
    def whole_text(self) -> str:
        """The text before it was cut."""
        return self._whole

    def set_text(self, text: str) -> None:
        """Show another text; the same one changes nothing, so that nothing is laid out anew."""
        if in_line(text) == self._whole:
            return
        self._whole = in_line(text)
        self.setAccessibleName(self._whole)
        self.updateGeometry()
        self._elide()

    @override
    def sizeHint(self) -> QSize:
        width = self.fontMetrics().horizontalAdvance(self._whole) + 2
        return QSize(width, super().sizeHint().height())

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._elide()

    def _elide(self) -> None:
        shown = self.fontMetrics().elidedText(self._whole, self._mode, self.width())
        if shown != self.text():
            super().setText(shown)
            self.setToolTip(self._whole if shown != self._whole else "")
