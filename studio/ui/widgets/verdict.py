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
            _, words = self._labels
            words.setText(breakable(text))
            words.setProperty("level", level)
            words.style().polish(words)
            self._paint_sign()
        self.setVisible(bool(text))

    @cached_property
    def _labels(self) -> tuple[QLabel, QLabel]:
        """The sign and the words, made and laid out when they are first needed."""
        sign, words = QLabel(), label("", self._role, wrap=True)
        words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # Beside something taller, the words stay where the sign is.
        words.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        hbox((sign, 0, Qt.AlignmentFlag.AlignTop), (words, 1), spacing=0.75, parent=self)
        theme.notifier().changed.connect(self._paint_sign)
        return sign, words

    def _paint_sign(self) -> None:
        sign, words = self._labels
        sign.setPixmap(sign_pixmap(self.level, words.fontMetrics().height(), self.devicePixelRatioF()))


def sign_pixmap(level: Level, size: int, ratio: float) -> QPixmap:
    """Return the sign of a level in the theme's colour."""
    icon, colour = _SIGNS[level]
    return icons.pixmap(icon, theme.palette().names()[colour], size, ratio)
