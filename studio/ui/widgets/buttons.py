"""Buttons in their kinds, each with an accessible name."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QPushButton, QToolButton

from studio.ui import icons, theme
from studio.ui.actions import without_key

Kind = Literal["plain", "primary", "quiet", "danger"]
_ICON_COLOURS: dict[Kind, str] = {"plain": "text", "primary": "on_accent", "quiet": "accent", "danger": "bad"}


def push_button(text: str, kind: Kind = "plain", icon: str = "", tooltip: str = "") -> QPushButton:
    """Return a button with words on it."""
    # A no-break space keeps the words off the icon; the style leaves too little between them.
    button = QPushButton(f"\u00a0{text}" if icon else text)
    _set_kind(button, kind)
    button.setAccessibleName(without_key(text))
    button.setToolTip(tooltip)
    if icon:
        icons.bind(button, icon, _ICON_COLOURS[kind])
    return button


def set_look(button: QPushButton, icon: str, kind: Kind) -> None:
    """Let a button look like another kind, with another icon."""
    _set_kind(button, kind)
    button.style().polish(button)
    icons.bind(button, icon, _ICON_COLOURS[kind])


def icon_button(icon: str, name: str) -> QToolButton:
    """Return a button with an icon alone; its name is its tooltip."""
    button = QToolButton()
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    button.setAccessibleName(name)
    button.setToolTip(name)
    button.setIconSize(QSize(theme.space(2.25), theme.space(2.25)))
    icons.bind(button, icon, "muted")
    return button


class ActionButton(QPushButton):
    """Does what an action does, looks like it, and is enabled when it is."""

    def __init__(self, action: QAction, kind: Kind = "plain", icon: str = "") -> None:
        super().__init__()
        self._action = action
        self._look: tuple[str, Kind] | None = None
        self.set_look(icon or action.objectName(), kind)
        self.clicked.connect(action.trigger)
        action.changed.connect(self._follow)
        self._follow()

    def set_look(self, icon: str, kind: Kind) -> None:
        """Look like another kind of button, with another icon: the action does something else now."""
        if self._look != (icon, kind):
            self._look = (icon, kind)
            set_look(self, icon, kind)

    def _follow(self) -> None:
        name = without_key(self._action.text())
        self.setEnabled(self._action.isEnabled())
        self.setText(f"\u00a0{name}")
        self.setAccessibleName(name)
        self.setToolTip(self._action.toolTip())


def _set_kind(button: QPushButton, kind: Kind) -> None:
    button.setProperty("kind", kind)
    button.setIconSize(QSize(theme.space(2), theme.space(2)))
