"""A figure: its name, its value, and a word about it."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from studio.ui.widgets.layout import vbox
from studio.ui.widgets.text import ElidedLabel, label
from studio.ui.widgets.verdict import Level

LEAST = 11  # characters that a figure needs, for its value and a word or two about it


class Figure(QWidget):
    """A name, a value, which is never cut, and a word about it."""

    def __init__(self, name: str, tooltip: str) -> None:
        super().__init__()
        self._name = name
        self._value, self._detail = label("", "heading"), ElidedLabel("", "caption")
        self.setToolTip(tooltip)
        vbox(ElidedLabel(name, "caption"), self._value, self._detail, spacing=0.2, parent=self)

    @property
    def text(self) -> str:
        """The figure as it is read out."""
        return f"{self._name}: {self._value.text()} {self._detail.whole_text}".rstrip()

    def set(self, value: str, detail: str = "", level: Level | None = None) -> None:
        """Show another value; `level` colours it, and the words carry the same."""
        if (value, detail) == (self._value.text(), self._detail.whole_text):
            return
        self._value.setText(value)
        self._detail.set_text(detail)
        self.setAccessibleName(self.text)
        if level != self._value.property("level"):
            self._value.setProperty("level", level)
            self._value.style().polish(self._value)
