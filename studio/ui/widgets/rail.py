"""The rail at the left of the window: a button for each page."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QButtonGroup, QFrame, QToolButton

from studio.ui import icons, theme
from studio.ui.actions import without_key
from studio.ui.widgets.layout import STRETCH, vbox


class Rail(QFrame):
    """`buttons` has the button of each page by its name; each does what the action of its page does."""

    def __init__(self, pages: Mapping[str, QAction]) -> None:
        super().__init__()
        self.setProperty("kind", "rail")
        self.buttons = {name: _button(name, action) for name, action in pages.items()}
        group = QButtonGroup(self)
        for button in self.buttons.values():
            group.addButton(button)
        vbox(*self.buttons.values(), STRETCH, spacing=0.75, margins=(0.75, 1.5, 0.75, 1.5), parent=self)


def _button(name: str, action: QAction) -> QToolButton:
    button = QToolButton()
    button.setProperty("kind", "rail")
    button.setCheckable(True)
    button.setText(without_key(action.text()))
    button.setAccessibleName(button.text())
    button.setToolTip(action.toolTip())
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
    button.setIconSize(QSize(theme.space(2.75), theme.space(2.75)))
    button.setMinimumWidth(theme.characters(12))
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    icons.bind(button, name, "muted")
    button.clicked.connect(action.trigger)
    return button
