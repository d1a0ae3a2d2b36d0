"""The monkey's own hands."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QLineEdit
from pytestqt.qtbot import QtBot

from studio.ui.override import override
from tests.ui.monkey import hands


class GoesAtAlt(QDialog):
    """Is gone as soon as Alt is pressed."""

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Alt:
            self.close()


def test_a_window_may_go_while_alt_and_a_letter_are_pressed(qtbot: QtBot) -> None:
    dialog = GoesAtAlt()
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    with qtbot.waitExposed(dialog):
        dialog.show()
    with qtbot.waitSignal(dialog.destroyed):
        hands.press(hands.handle_of(dialog), Qt.Key.Key_X, hands.ALT)


def test_letters_and_keys_that_are_held_reach_a_field(qtbot: QtBot) -> None:
    field = QLineEdit()
    qtbot.addWidget(field)
    with qtbot.waitActive(field):
        field.show()
        field.activateWindow()
    handle = hands.handle_of(field)
    for key in (Qt.Key.Key_A, Qt.Key.Key_5):
        hands.press(handle, key)
    hands.press(handle, Qt.Key.Key_A, hands.CTRL)
    assert (field.text(), field.selectedText()) == ("a5", "a5")
