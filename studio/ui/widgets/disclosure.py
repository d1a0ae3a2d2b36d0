"""A line that shows or hides what is below it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSizePolicy, QToolButton, QWidget

from studio.ui import icons
from studio.ui.widgets.layout import STRETCH, hbox, vbox


class Disclosure(QWidget):
    """Put widgets into `content`; they are hidden until the user asks for them. `header` is the line itself."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QToolButton()
        self.button.setCheckable(True)
        self.button.setText(title)
        self.button.setAccessibleName(title)
        self.button.setProperty("kind", "disclosure")
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._holder = QWidget()
        self.content = vbox(spacing=0, margins=(0, 0.5, 0, 0.5), parent=self._holder)
        self.header = hbox(self.button, STRETCH, spacing=1)
        vbox(self.header, self._holder, spacing=0, parent=self)
        self.button.toggled.connect(self._toggled)
        self._toggled(False)

    def open(self) -> None:
        """Show the content."""
        self.button.setChecked(True)

    def _toggled(self, opened: bool) -> None:
        icons.bind(self.button, "chevron-down" if opened else "chevron-right", "accent")
        self._holder.setVisible(opened)
