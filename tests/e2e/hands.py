"""What a person does with a window: click what is in sight, type, choose, look."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication, QImage, QPixmap
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QPushButton, QScrollArea, QWidget

from studio.ui.widgets.combo import ComboBox
from studio.ui.widgets.segmented import Segmented

PICTURES = os.environ.get("FINETUNE_STUDIO_SCREENSHOTS", "")
ATTEMPTS = 20
TURNS = 6  # of the event loop, until layouts within layouts have settled
LEFT = Qt.MouseButton.LeftButton


def click(widget: QWidget) -> None:
    """Scroll to a widget and click in its middle, once it is in sight there and not covered."""
    for _ in range(ATTEMPTS):  # what is still being read may move the page
        if _bring_into_sight(widget):
            break
    else:
        raise AssertionError(f"{widget.accessibleName() or widget} is covered or out of sight")
    assert widget.isEnabled()
    QTest.mouseClick(widget, LEFT, Qt.KeyboardModifier.NoModifier, widget.rect().center())


def type_into(line: QWidget, text: str, *, enter: bool = False) -> None:
    """Replace the text of a field."""
    assert isinstance(line, QLineEdit)
    click(line)
    QTest.keyClick(line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(line, text)
    if enter:
        QTest.keyClick(line, Qt.Key.Key_Return)


def choose(choice: Segmented | ComboBox, value: str) -> None:
    """Choose one of some values: with the mouse where all are in sight, with the keyboard in a list."""
    if isinstance(choice, Segmented):
        click(choice.button(value))
    else:
        choice.setFocus()
        QTest.keyClick(choice, Qt.Key.Key_Home)
        for _ in range(choice.findData(value)):
            QTest.keyClick(choice, Qt.Key.Key_Down)
    assert choice.value() == value


def button(within: QWidget, text: str) -> QPushButton:
    """Return the button with these words."""
    return next(found for found in within.findChildren(QPushButton) if found.text() == text)


def choose_from_menu(opener: QPushButton, title: str) -> None:
    """Open a button's menu and choose an entry with the keyboard."""
    menu = opener.menu()

    def press() -> None:
        for _ in menu.actions():
            QTest.keyClick(menu, Qt.Key.Key_Down)
            if menu.activeAction().text() == title:
                QTest.keyClick(menu, Qt.Key.Key_Return)
                return
        menu.close()

    # An open menu has an event loop of its own, and the click returns when it is closed.
    menu.aboutToShow.connect(lambda: QTimer.singleShot(0, press), Qt.ConnectionType.SingleShotConnection)
    click(opener)


def picture(window: QWidget, name: str) -> None:
    """Look at the window; on a real screen, see that the screen shows it. Keep the picture where they are wanted."""
    for _ in range(TURNS):
        QApplication.processEvents()
    window.repaint()
    seen = drawn = window.grab()
    if QGuiApplication.platformName() == "xcb":
        seen = window.screen().grabWindow(0)
        alike = _alike(drawn, seen.copy(window.geometry()))
        assert alike > 0.99, f"{1 - alike:.1%} of the screen does not show what the window has drawn"
    if PICTURES:
        assert seen.save(str(Path(PICTURES) / f"{name}.png"))


def _bring_into_sight(widget: QWidget) -> bool:
    """Scroll every area round the widget; return whether its middle can be seen."""
    QApplication.processEvents()
    around = widget.parentWidget()
    while around is not None:
        if isinstance(around, QScrollArea):
            around.ensureWidgetVisible(widget)
        around = around.parentWidget()
    window = widget.window()
    there = window.childAt(widget.mapTo(window, widget.rect().center()))
    return there is not None and (there is widget or widget.isAncestorOf(there))


def _alike(one: QPixmap, other: QPixmap) -> float:
    """Share of the pixels that are equal."""
    assert one.size() == other.size()
    return float((_pixels(one) == _pixels(other)).mean())


def _pixels(picture: QPixmap) -> np.ndarray:
    image = picture.toImage().convertToFormat(QImage.Format.Format_RGB32)
    return np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), -1) & 0xFFFFFF
