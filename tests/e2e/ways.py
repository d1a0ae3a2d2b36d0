"""Two ways through the window: with the mouse, and with the keyboard alone.

Events (events.py) go where a desktop sends them: a click to a place in a window, a key to the window that has the
focus. Qt finds the widget. So nothing is reached that is covered, out of sight, behind a dialog, or without a place in
the tab order.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QModelIndex, QPoint, QRect, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QWindow
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QDialogButtonBox,
    QFileDialog,
    QMainWindow,
    QScrollArea,
    QWidget,
)
from typing_extensions import override

from studio.ui.widgets.combo import ComboBox
from tests.e2e.events import Events
from tests.e2e.hands import TURNS

Key, Modifier = Qt.Key, Qt.KeyboardModifier
MOST_TABS = 150  # more than a page has controls
MOST_NOTCHES = 100


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Let the window work until something holds; fail with `what` when that takes too long."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
        QTest.qWait(0)
        time.sleep(0.01)  # `qWait` keeps the interpreter's lock while it waits: training would stand still


def settle() -> None:
    """Let layouts within layouts find their places; a person sees them then."""
    for _ in range(TURNS):
        QTest.qWait(0)


def give_focus_to_the_front() -> None:
    """Wait until a window has the focus. Off the screen no window manager gives it to the one in front: do that."""
    QTest.qWait(0)
    if QGuiApplication.platformName() == "offscreen" and QGuiApplication.focusWindow() is None:
        shown = [window for window in QApplication.topLevelWidgets() if window.isVisible()]
        front = QApplication.activeModalWidget() or next(window for window in shown if isinstance(window, QMainWindow))
        front.activateWindow()
    wait_until(lambda: QGuiApplication.focusWindow() is not None, "the window in front to be active")


class Way(ABC):
    """Does things in the window, and counts in `counted` what that took."""

    name: str

    def __init__(self, events: Events) -> None:
        self.events = events
        self.counted: Counter[str] = Counter()

    @abstractmethod
    def press(self, button: QWidget, *, before: bool = False, keys: tuple[Key, Modifier] | None = None) -> None:
        """Press a button.

        Args:
            before: it stands before the control that has the focus.
            keys: what does the same.
        """

    @abstractmethod
    def pick(self, card: QAbstractButton) -> None:
        """Take one of some choices that stand below each other."""

    @abstractmethod
    def choose(self, box: ComboBox, value: str) -> None:
        """Choose from a drop-down list."""

    @abstractmethod
    def write(self, field: QWidget, text: str) -> None:
        """Type something in place of what a field holds."""

    @abstractmethod
    def take_rows(self, table: QAbstractItemView, first: QModelIndex, last: QModelIndex) -> None:
        """Select two neighbours in a table, the upper one first."""

    @abstractmethod
    def take_file(self, dialog: QFileDialog, file: Path) -> None:
        """Choose a file of the folder that a file dialog shows."""

    def open_file(self, opener: QWidget, file: Path) -> None:
        """Press a button that asks for a file, and choose one; return when the dialog is closed."""
        answers: list[AssertionError | None] = []

        def answer() -> None:
            dialog = QApplication.activeModalWidget()
            if not isinstance(dialog, QFileDialog):
                QTimer.singleShot(10, answer)
                return
            try:
                self.take_file(dialog, file)
            except AssertionError as failure:
                answers.append(failure)
                dialog.reject()
            else:
                answers.append(None)

        QTimer.singleShot(0, answer)
        self.press(opener)
        wait_until(lambda: answers, "the file dialog")
        assert answers == [None], answers[0]

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        for letter in text:
            self.events.letter(_focus_window(), letter)
        self.counted["letters"] += len(text)


class Mouse(Way):
    """Clicks in the middle of what is in sight, and turns the wheel until it is. Letters come from the keyboard."""

    name = "mouse"

    @override
    def press(self, button: QWidget, *, before: bool = False, keys: tuple[Key, Modifier] | None = None) -> None:
        self._click(button, button.rect().center())

    @override
    def pick(self, card: QAbstractButton) -> None:
        self.press(card)

    @override
    def choose(self, box: ComboBox, value: str) -> None:
        self.press(box)
        wait_until(box.view().isVisible, "the list of a drop-down")
        self._click_item(box.view(), box.model().index(box.findData(value), 0))
        assert box.value() == value

    @override
    def write(self, field: QWidget, text: str) -> None:
        self._click(field, field.rect().center(), times=3)  # the third selects the line
        self.type(text)

    @override
    def take_rows(self, table: QAbstractItemView, first: QModelIndex, last: QModelIndex) -> None:
        self._click_item(table, first)
        self._click_item(table, last, Modifier.ControlModifier)

    @override
    def take_file(self, dialog: QFileDialog, file: Path) -> None:
        views = (dialog.findChild(QAbstractItemView, name) for name in ("listView", "treeView"))
        files = next(view for view in views if isinstance(view, QAbstractItemView) and view.isVisible())
        wait_until(lambda: _named(files, file.name).isValid(), f"{file.name} in the file dialog")
        settle()  # what is still being listed moves the rows
        self._click_item(files, _named(files, file.name))
        assert files.currentIndex().data() == file.name, "what the dialog lists has moved under the pointer"
        buttons = dialog.findChild(QDialogButtonBox)
        assert isinstance(buttons, QDialogButtonBox)
        self.press(buttons.button(QDialogButtonBox.StandardButton.Open))

    def _click_item(
        self, view: QAbstractItemView, index: QModelIndex, modifier: Modifier = Modifier.NoModifier
    ) -> None:
        self._click(view.viewport(), view.visualRect(index).center(), modifier)

    def _click(self, widget: QWidget, place: QPoint, modifier: Modifier = Modifier.NoModifier, times: int = 1) -> None:
        assert widget.isEnabled(), f"{_words(widget)} is switched off: {widget.toolTip()}"
        settle()
        self._scroll_to(widget, place)
        window = widget.window()
        there = widget.mapTo(window, place)
        under = window.childAt(there)
        assert under is not None, f"{_words(widget)} is out of sight"
        assert under is widget or widget.isAncestorOf(under), f"{_words(widget)} is covered by {_words(under)}"
        self.events.click(_handle(window), there, modifier, times)
        self.counted["clicks"] += times
        settle()

    def _scroll_to(self, widget: QWidget, place: QPoint) -> None:
        """Turn the wheel over the page until a place is in sight."""
        area: QWidget | None = widget
        while area is not None and not isinstance(area, QScrollArea):
            area = None if area.isWindow() else area.parentWidget()
        if area is None:
            return
        viewport, window = area.viewport(), area.window()
        middle = viewport.mapTo(window, viewport.rect().center())
        for _ in range(MOST_NOTCHES):
            there = viewport.mapFromGlobal(widget.mapToGlobal(place))
            if viewport.rect().contains(there):
                return
            self.events.wheel(_handle(window), middle, down=there.y() > 0)
            self.counted["wheel"] += 1
            settle()
        raise AssertionError(f"the wheel does not bring {_words(widget)} into sight")


class Keyboard(Way):
    """Tab, arrows, Space, Enter and shortcuts. What has the focus must be in sight, at every step."""

    name = "keyboard"

    @override
    def press(self, button: QWidget, *, before: bool = False, keys: tuple[Key, Modifier] | None = None) -> None:
        if keys is not None:
            self.key(*keys)
            return
        self.go_to(button, before=before)
        self.key(Key.Key_Space)

    @override
    def pick(self, card: QAbstractButton) -> None:
        group = card.group()
        self.go_to(group.checkedButton())
        for _ in group.buttons():
            if card.isChecked():
                return
            self.key(Key.Key_Down)
        raise AssertionError(f"the arrow keys do not take {_words(card)}")

    @override
    def choose(self, box: ComboBox, value: str) -> None:
        self.go_to(box)
        way = box.findData(value) - box.currentIndex()
        for _ in range(abs(way)):
            self.key(Key.Key_Down if way > 0 else Key.Key_Up)
        assert box.value() == value

    @override
    def write(self, field: QWidget, text: str) -> None:
        self.go_to(field)
        self.key(Key.Key_A, Modifier.ControlModifier)
        self.type(text)

    @override
    def take_rows(self, table: QAbstractItemView, first: QModelIndex, last: QModelIndex) -> None:
        self.go_to(table)
        self.key(Key.Key_Home, Modifier.ControlModifier)
        while table.currentIndex().row() < first.row():
            self.key(Key.Key_Down)
        self.key(Key.Key_Down, Modifier.ShiftModifier)
        assert table.currentIndex().row() == last.row()

    @override
    def take_file(self, dialog: QFileDialog, file: Path) -> None:
        wait_until(lambda: _has_focus(dialog), "the focus in the file dialog")
        self.type(file.name)
        self.key(Key.Key_Return)

    def key(self, key: Key, modifier: Modifier = Modifier.NoModifier) -> None:
        """Press a key once."""
        self.events.key(_focus_window(), key, modifier)
        self.counted["keys"] += 1
        settle()

    def go_to(self, target: QWidget, *, before: bool = False) -> None:
        """Press Tab, or Shift+Tab for what stands before, until the target or a part of it has the focus."""
        passed: list[str] = []
        while not _has_focus(target):
            assert len(passed) < MOST_TABS, f"Tab does not reach {_words(target)}, but {', '.join(passed)}"
            self.key(
                Key.Key_Backtab if before else Key.Key_Tab, Modifier.ShiftModifier if before else Modifier.NoModifier
            )
            focused = QApplication.focusWidget()
            assert focused is not None, f"the focus was lost after {passed}"
            passed.append(_words(focused))
            assert _in_sight(focused), f"{_words(focused)} has the focus, out of sight"
            assert _words(focused), f"{focused} has the focus, and no name"


def _focus_window() -> QWindow:
    give_focus_to_the_front()
    window = QGuiApplication.focusWindow()
    assert window is not None
    return window


def _handle(window: QWidget) -> QWindow:
    handle = window.windowHandle()
    assert handle is not None
    return handle


def _has_focus(target: QWidget) -> bool:
    focused = QApplication.focusWidget()
    return focused is not None and (focused is target or target.isAncestorOf(focused))


def _in_sight(widget: QWidget) -> bool:
    """Whether most of a control, or much of a large one, is not scrolled away or cut off."""
    shown: QRect = widget.visibleRegion().boundingRect()
    return shown.height() >= min(widget.height(), 24) * 0.75 and shown.width() > 0


def _named(files: QAbstractItemView, name: str) -> QModelIndex:
    model, root = files.model(), files.rootIndex()
    rows = (model.index(row, 0, root) for row in range(model.rowCount(root)))
    return next((index for index in rows if index.data() == name), QModelIndex())


def _words(widget: QWidget) -> str:
    """What a screen reader would say of a widget."""
    return widget.accessibleName() or str(widget.property("text") or "") or widget.objectName() or type(widget).__name__
