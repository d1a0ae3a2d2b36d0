"""One thing that does not fit, in words, with the buttons that mend it."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QPushButton, QWidget

from studio.runner.advice import Misfit
from studio.text.advice import misfit_text, remedy_text
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.verdict import Verdict


class RemedyLine(QFrame):
    """Hidden while everything fits. `chosen` carries the options of a remedy, by dotted key."""

    chosen = Signal(dict)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "inset")
        self.words = Verdict()
        self.buttons: list[QPushButton] = []
        self._shown: Misfit | None = None
        self._row = hbox(spacing=1)
        vbox(self.words, self._row, spacing=1, margins=(1.5, 1.25, 1.5, 1.25), parent=self)
        self.hide()

    def show_misfit(self, misfit: Misfit | None, *, said: bool = False) -> None:
        """Say what does not fit, unless that is `said` elsewhere, and offer what mends it."""
        if misfit == self._shown:  # a button keeps the focus
            return
        self._shown = misfit
        for button in self.buttons:
            button.hide()
            button.deleteLater()
        self.buttons = []
        while self._row.takeAt(0):
            pass
        if misfit is not None:
            words = "" if said else misfit_text(misfit.code, misfit.values)
            self.words.set(words, "bad" if misfit.fatal else "warning")
            for code, options in misfit.remedies:
                button = push_button(remedy_text(code, options))
                button.clicked.connect(partial(self.chosen.emit, options))
                self.buttons.append(button)
                self._row.addWidget(button)
            self._row.addStretch(1)
        self.setVisible(misfit is not None)
