"""A notice that a graphics card of this computer is not used, with the command that mends it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QFrame, QLineEdit, QWidget

from studio.i18n import tr
from studio.torch_build import UnusedCard
from studio.ui import theme
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import hbox, vbox
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict


class CardNotice(QFrame):
    """Hidden while every card is used. The command can be selected, read and copied by keyboard."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.verdict = Verdict()
        self.command = QLineEdit(readOnly=True)
        self.command.setAccessibleName(tr("Command that lets torch use the graphics card"))
        self.copy = push_button(tr("Copy command"), "plain", "copy", tr("Put the command on the clipboard"))
        self.copy.clicked.connect(lambda: theme.application().clipboard().setText(self.command.text()))
        hint = label(tr("Give this command in a terminal, then start the program again:"), "muted", wrap=True)
        self._remedy = QWidget()
        vbox(hint, hbox((self.command, 1), self.copy), spacing=0.75, parent=self._remedy)
        vbox(self.verdict, self._remedy, spacing=1, parent=self)
        self.hide()

    def show_cards(self, cards: Sequence[UnusedCard]) -> None:
        """Name the cards that are not used. One command serves all that a command can mend."""
        words = tr("This computer has a graphics card that training cannot use, {card}: {reason}.")
        self.verdict.set("\n".join(words.format(card=c.name, reason=c.reason) for c in cards), "warning")
        command = next((card.command for card in cards if card.command), "")
        self.command.setText(command)
        self.command.setCursorPosition(0)
        self._remedy.setVisible(bool(command))
        self.setVisible(bool(cards))
