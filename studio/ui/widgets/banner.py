"""One sentence across the top of the window, until it is dismissed or replaced."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFrame, QPushButton, QWidget

from studio.i18n import tr
from studio.ui.actions import without_key
from studio.ui.widgets.buttons import icon_button, push_button
from studio.ui.widgets.layout import hbox
from studio.ui.widgets.verdict import Level, Verdict


class Banner(QFrame):
    """Hidden while there is nothing to say."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "banner")
        self._verdict = Verdict()
        close = icon_button("remove", tr("Dismiss"))
        close.clicked.connect(self.hide)
        self.button: QPushButton | None = None
        parts = (self._verdict, 1, Qt.AlignmentFlag.AlignVCenter), (close, 0, Qt.AlignmentFlag.AlignTop)
        self._row = hbox(*parts, spacing=1.5, margins=(3, 0.75, 1.5, 0.75), parent=self)
        self.hide()

    @property
    def text(self) -> str:
        return self._verdict.text if not self.isHidden() else ""

    def show_sentence(self, sentence: str, level: Level = "bad", action: QAction | None = None) -> None:
        """Say something else; a button does what `action` does."""
        self._verdict.set(sentence, level)
        if self.button is not None:
            self.button.deleteLater()
            self.button = None
        if action is not None:
            self.button = push_button(without_key(action.text()), "plain", tooltip=action.toolTip())
            self.button.clicked.connect(action.trigger)
            self._row.insertWidget(1, self.button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.show()
