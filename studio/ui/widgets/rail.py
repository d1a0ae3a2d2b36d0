"""The rail at the left of the window: a button for each page."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QToolButton

from studio.ui import icons, theme
from studio.ui.actions import without_key
from studio.ui.override import override
from studio.ui.widgets.layout import STRETCH, set_margins, vbox

# Space between two buttons, and above and below all of them; whether they have icons. The first that fits is taken.
_LOOKS = ((0.75, 1.5, True), (0.0, 0.25, True), (0.0, 0.25, False))


class Rail(QFrame):
    """`buttons` has the button of each page by its name; each does what the action of its page does.

    Where a large font or a small window leaves little room, they move together, and at last have no icons.
    """

    def __init__(self, pages: Mapping[str, QAction]) -> None:
        super().__init__()
        self.setProperty("kind", "rail")
        self.buttons = {name: _button(name, action) for name, action in pages.items()}
        group = QButtonGroup(self)
        for button in self.buttons.values():
            group.addButton(button)
        self._column = vbox(*self.buttons.values(), STRETCH, parent=self)
        self._look = _LOOKS[0]
        self._show_look()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._look[2]:  # without icons they are not as tall
            self._tall = max(button.sizeHint().height() for button in self.buttons.values())
        fits = (look for look in _LOOKS if self._height(look) <= event.size().height())
        look = next(fits, _LOOKS[-1])
        if look != self._look:
            self._look = look
            self._show_look()

    def _height(self, look: tuple[float, float, bool]) -> int:
        spacing, margin, _ = look
        count = len(self.buttons)
        return count * self._tall + (count - 1) * theme.space(spacing) + 2 * theme.space(margin)

    def _show_look(self) -> None:
        spacing, margin, icons_too = self._look
        style = Qt.ToolButtonStyle
        for button in self.buttons.values():
            button.setToolButtonStyle(style.ToolButtonTextUnderIcon if icons_too else style.ToolButtonTextOnly)
        self._column.setSpacing(theme.space(spacing) if spacing else 0)
        set_margins(self._column, (0.75, margin, 0.75, margin))


def _button(name: str, action: QAction) -> QToolButton:
    button = QToolButton()
    button.setProperty("kind", "rail")
    button.setCheckable(True)
    button.setText(without_key(action.text()))
    button.setAccessibleName(button.text())
    button.setToolTip(action.toolTip())
    button.setIconSize(QSize(theme.space(2.75), theme.space(2.75)))
    button.setMinimumWidth(theme.characters(12))
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    icons.bind(button, name, "muted")
    button.clicked.connect(action.trigger)
    return button
