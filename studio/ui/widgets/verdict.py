"""A verdict in words, with a sign beside it, so that colour is never the only carrier."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from studio.text.visible import breakable
from studio.ui import icons, theme
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.text import Role, label

Level = Literal["good", "warning", "bad", "busy", "note", "none"]
# Of each level the icon, and the name of its colour.
_SIGNS: dict[Level, tuple[str, str]] = {
    "good": ("check", "good"),
    "warning": ("warning", "warning"),
    "bad": ("error", "bad"),
    "busy": ("busy", "muted"),
    "note": ("info", "accent"),
    "none": ("dot", "muted"),
}


class Verdict(QWidget):
    """One sentence and its sign; hidden while there is nothing to say.

    Most of them never say anything, so the labels are made for the first sentence.
    """

    def __init__(self, role: Role = "body", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.level: Level = "none"
        self._role: Role = role
        self._text = ""
        self.hide()

    @property
    def text(self) -> str:
        return self._text

    def set(self, text: str, level: Level = "none") -> None:
        """Say something else; an empty text says nothing."""
        self.level = level
        self._text = text
        self.setAccessibleName(text)
        if text:
            self._words.setText(breakable(text))
            self._words.setProperty("level", level)
            self._words.style().polish(self._words)
            self._paint_sign()
        self.setVisible(bool(text))

    @cached_property
    def _sign(self) -> QLabel:
        return QLabel()

    @cached_property
    def _words(self) -> QLabel:
        words = label("", self._role, wrap=True)
        words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # Beside something taller, the words stay where the sign is.
        words.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        hbox((self._sign, 0, Qt.AlignmentFlag.AlignTop), (words, 1), spacing=0.75, parent=self)
        theme.notifier().changed.connect(self._paint_sign)
        return words

    def _paint_sign(self) -> None:
        size = self._words.fontMetrics().height()
        self._sign.setPixmap(sign_pixmap(self.level, size, self.devicePixelRatioF()))


def sign_pixmap(level: Level, size: int, ratio: float) -> QPixmap:
    """Return the sign of a level in the theme's colour."""
    icon, colour = _SIGNS[level]
    return icons.pixmap(icon, theme.palette().names()[colour], size, ratio)
