"""One sentence across the top of the window, until it is dismissed or replaced."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFrame, QWidget

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
        self.button = push_button("", "plain")
        self._action: QAction | None = None
        self.button.clicked.connect(self._act)
        middle = Qt.AlignmentFlag.AlignVCenter
        parts = (self._verdict, 1, middle), (self.button, 0, middle), (close, 0, Qt.AlignmentFlag.AlignTop)
        hbox(*parts, spacing=1.5, margins=(3, 0.75, 1.5, 0.75), parent=self)
        self.hide()

    @property
    def text(self) -> str:
        return self._verdict.text if not self.isHidden() else ""

    def show_sentence(self, sentence: str, level: Level = "bad", action: QAction | None = None) -> None:
        """Say something else; a button does what `action` does."""
        self._verdict.set(sentence, level)
        self._action = action
        self.button.setVisible(action is not None)
        if action is not None:
            self.button.setText(without_key(action.text()))
            self.button.setAccessibleName(self.button.text())
            self.button.setToolTip(action.toolTip())
        self.show()

    def _act(self) -> None:
        if self._action is not None:
            self._action.trigger()
