"""A few choices side by side, all in sight, one of them taken."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Signal
from PySide6.QtGui import QFont, QFontMetrics
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from studio.i18n import tr
from studio.ui import theme


class Segmented(QFrame):
    """Chooses one of some values. Tab reaches it, the arrow keys change it."""

    changed = Signal()

    def __init__(self, choices: Iterable[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "segmented")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 2, 2, 2)
        row.setSpacing(theme.space(0.25))
        self._group = QButtonGroup(self)
        self._buttons: dict[str, QPushButton] = {}
        for value, text in choices:
            self._buttons[value] = button = QPushButton(text)
            button.setCheckable(True)
            button.setMinimumWidth(_widest(button))
            self._group.addButton(button)
            row.addWidget(button)
        next(iter(self._buttons.values())).setChecked(True)
        self._group.buttonToggled.connect(self._toggled)

    def value(self) -> str:
        return next(value for value, button in self._buttons.items() if button.isChecked())

    def set_value(self, value: str) -> None:
        """Choose a value; one that is not offered leaves the choice as it is."""
        if value in self._buttons:
            self._buttons[value].setChecked(True)

    def button(self, value: str) -> QPushButton:
        """Return the button of one choice."""
        return self._buttons[value]

    def offer(self, value: str, text: str) -> None:
        """Offer a choice in these words; without words it is out of sight."""
        button = self._buttons[value]
        button.setVisible(bool(text))
        if text:
            button.setText(text)
            button.setMinimumWidth(_widest(button))

    def describe(self, name: str, description: str = "") -> None:
        """Give every button its name for screen readers, such as "Kind: Chat"."""
        self.setAccessibleName(name)
        for button in self._buttons.values():
            button.setAccessibleName(tr("{name}: {value}").format(name=name, value=button.text()))
            button.setAccessibleDescription(description)
        self.setFocusProxy(next(iter(self._buttons.values())))

    def _toggled(self, _button: QPushButton, checked: bool) -> None:
        if checked:
            self.changed.emit()


def _widest(button: QPushButton) -> int:
    """The width of a button when its choice is taken: the words are bold then, and nothing may move."""
    font = QFont(button.font())
    font.setWeight(QFont.Weight.DemiBold)
    return QFontMetrics(font).horizontalAdvance(button.text()) + theme.space(2.5) + 4
