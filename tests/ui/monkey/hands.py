"""What a person can do to a window without knowing what it is: point, click, drag, turn the wheel, press keys, paste.

Each function does one thing, and returns what it did, in words. Events go to the windows of the platform, as those of a
mouse and a keyboard do: modal dialogs, open menus and shortcuts take them as they would.
"""

from __future__ import annotations

import random

from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QGuiApplication, QWindow
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QScrollArea,
    QTextEdit,
    QWidget,
)

from studio.ui.widgets.drop_overlay import DropOverlay

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
COPY = Qt.DropAction.CopyAction
NONE = Qt.KeyboardModifier.NoModifier
CTRL, SHIFT, ALT = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.AltModifier,
)
KEYS = tuple(
    getattr(Qt.Key, f"Key_{name}")
    for name in [
        "Tab",
        "Backtab",
        "Up",
        "Down",
        "Left",
        "Right",
        "PageUp",
        "PageDown",
        "Home",
        "End",
        "Return",
        "Enter",
        "Escape",
        "Space",
        "Backspace",
        "Delete",
        "F1",
        "F2",
        "F4",
        "F5",
        "F10",
        "Menu",
        "Plus",
        "Minus",
        "Period",
        "Comma",
    ]
)
HELD_KEYS = {Qt.Key.Key_Shift: SHIFT, Qt.Key.Key_Control: CTRL, Qt.Key.Key_Alt: ALT}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
TEXTS = (
    "", " ", "0", "1", "-1", "8", "0.5", "1e-4", "1e999", "nan", "inf", "9" * 5000, "0." + "1" * 400, "x" * 20_000,
    "微调一个模型", "שלום \u202eabc\u202c مرحبا", "👩‍👩‍👧‍👦🇨🇳", "e\u0301" * 200, "a\0b", "\ud800", "line\nbreak\ttab",
    "<img src='nothing'><b>bold", "&&Amp&", "{model} %s {", "../up", "CON", "*?\"'$`;", "lora", "q_proj", "[1, 2, 3]",
)  # fmt: skip


def widget_in(window: QWidget, draw: random.Random) -> QWidget:
    """Return a widget in sight of a window, as deep as chance goes; one in a page that scrolls is brought into sight."""
    found = window
    while draw.random() < 0.97:
        inner = [one for one in found.children() if isinstance(one, QWidget) and one.isVisible() and one.isEnabled()]
        inner = [one for one in inner if not one.isWindow()]
        if not inner:
            break
        found = draw.choice(inner)
    _bring_into_sight(found)
    return found


def named(widget: QWidget) -> str:
    """Return what a widget is, in words for a report."""
    text = widget.accessibleName() or widget.windowTitle() or str(widget.property("text") or "") or widget.objectName()
    return f"{type(widget).__name__} {text[:40]!r}"


def click(window: QWidget, draw: random.Random) -> str:
    """Press one button of the mouse, once or twice."""
    widget = widget_in(window, draw)
    place = _place_in(widget, draw)
    button = RIGHT if draw.random() < 0.1 else LEFT
    keys = draw.choice([NONE] * 8 + [CTRL, SHIFT])
    times = 2 if draw.random() < 0.1 else 1
    how = f"click {times} {button.name} {keys.name}"
    words = f"{how} on {named(widget)} of {type(window).__name__} at {place.toTuple()}"
    _click(handle_of(widget), _mapped(widget, place), button, keys, times)
    return words


def drag(window: QWidget, draw: random.Random) -> str:
    """Press, move and release, within one widget or from one to another."""
    widget = widget_in(window, draw)
    words, handle, begin = f"drag from {named(widget)}", handle_of(widget), _mapped(widget, _place_in(widget, draw))
    way = [QPoint(draw.randrange(handle.width()), draw.randrange(handle.height())) for _ in range(draw.randint(1, 6))]
    QTest.mousePress(handle, LEFT, NONE, begin)
    for place in way:
        if _is_there(handle):
            QTest.mouseMove(handle, _within(handle, place))
    if _is_there(handle):
        QTest.mouseRelease(handle, LEFT, NONE, _within(handle, way[-1]))
    return words


def hover(window: QWidget, draw: random.Random) -> str:
    """Move the mouse over a widget."""
    widget = widget_in(window, draw)
    words = f"hover over {named(widget)}"
    QTest.mouseMove(handle_of(widget), _mapped(widget, _place_in(widget, draw)))
    return words


def turn_wheel(window: QWidget, draw: random.Random) -> str:
    """Turn the wheel, in either direction, sometimes with a key held."""
    widget = widget_in(window, draw)
    place, turns = _mapped(widget, _place_in(widget, draw)), draw.choice((-1200, -120, 120, 1200))
    turn = QPoint(turns, 0) if draw.random() < 0.1 else QPoint(0, turns)
    words = f"wheel {turn.toTuple()} over {named(widget)}"
    QTest.wheelEvent(handle_of(widget), place, turn, QPoint(), draw.choice([NONE, NONE, CTRL, SHIFT]))
    return words


def press_key(window: QWidget, draw: random.Random) -> str:
    """Press a key that moves, chooses or writes."""
    key = draw.choice(KEYS) if draw.random() < 0.7 else Qt.Key(ord(draw.choice(LETTERS).upper()))
    held = draw.choice([NONE] * 10 + [CTRL, SHIFT, CTRL | SHIFT])
    focus = QApplication.focusWidget()
    words = f"key {held.name} {key.name} in {named(focus) if focus else 'nothing'}"
    press(handle_of(window), key, held)
    return words


def press_mnemonic(window: QWidget, draw: random.Random) -> str:
    """Press Alt and a letter."""
    letter = draw.choice(LETTERS)
    press(handle_of(window), Qt.Key(ord(letter.upper())), ALT)
    return f"key Alt+{letter}"


def paste(window: QWidget, draw: random.Random, files: list[str]) -> str:
    """Put a text, or the name of a file, into a field that can be written in."""
    kinds = (QLineEdit, QPlainTextEdit, QTextEdit)
    fields = [one for kind in kinds for one in window.findChildren(kind) if one.isVisible() and one.isEnabled()]
    if not fields:
        return "paste nowhere"
    field = draw.choice(fields)
    text = draw.choice(files) if draw.random() < 0.2 else draw.choice(TEXTS)
    _bring_into_sight(field)
    handle = handle_of(field)
    QApplication.clipboard().setText(text)
    words = f"paste {text[:40]!r} ({len(text)}) into {named(field)}"
    _click(handle, _mapped(field, _place_in(field, draw)))
    if draw.random() < 0.7:
        press(handle, Qt.Key.Key_A, CTRL)
    press(handle, Qt.Key.Key_V, CTRL)
    if draw.random() < 0.5:
        press(handle, draw.choice((Qt.Key.Key_Return, Qt.Key.Key_Tab, Qt.Key.Key_Escape)))
    return words


def choose(window: QWidget, draw: random.Random) -> str:
    """Choose an entry of a drop-down with the keyboard."""
    choices = [one for one in window.findChildren(QComboBox) if one.isVisible() and one.isEnabled()]
    if not choices:
        return "choose nothing"
    choice = draw.choice(choices)
    _bring_into_sight(choice)
    choice.setFocus()
    words, handle = f"choose in {named(choice)}", handle_of(choice)
    for _ in range(draw.randint(1, max(1, choice.count()))):
        press(handle, draw.choice((Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Up)))
    return words


def drop(window: QWidget, draw: random.Random, files: list[str]) -> str:
    """Drag files from elsewhere over a window, and let them go there or move away again."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(file) for file in files])
    middle = window.rect().center()
    QApplication.sendEvent(window, QDragEnterEvent(middle, COPY, data, LEFT, NONE))
    overlays = [one for one in window.findChildren(DropOverlay) if one.isVisible()]
    words = f"drop {', '.join(file.rpartition('/')[2] for file in files)}"
    for overlay in overlays:
        if draw.random() < 0.15:
            QApplication.sendEvent(overlay, QDragLeaveEvent())
        else:
            QApplication.sendEvent(overlay, QDropEvent(middle, COPY, data, LEFT, NONE))
    return words


def resize(window: QWidget, draw: random.Random) -> str:
    """Give a window another size."""
    if draw.random() < 0.15:
        draw.choice((window.showMaximized, window.showNormal, window.showMinimized))()
        window.show()
        return "window state"
    size = (draw.randint(960, 1920), draw.randint(540, 1080))
    window.showNormal()
    window.resize(*size)
    return f"resize to {size}"


def press(window: QWindow, key: Qt.Key, held: Qt.KeyboardModifier = NONE) -> None:
    """Press a key and let it go, with Shift, Ctrl or Alt held meanwhile.

    After each event the window may be gone. `keyPress` of QTest sends the event of Alt and that of the letter to the
    same address and does not look in between: the process then ends in a segmentation fault.
    """
    holding = [name for name, modifier in HELD_KEYS.items() if held & modifier]
    text = "" if held & (CTRL | ALT) else QTest.keyToAscii(key).strip("\0")
    for down, keys in ((True, [*holding, key]), (False, [key, *holding])):
        for one in keys:
            if _is_there(window):
                chosen = one is key
                QTest.simulateEvent(window, down, one, held if chosen else NONE, text if chosen else "", False)


def handle_of(widget: QWidget) -> QWindow:
    """Return the window of the platform that a widget lies in."""
    handle = widget.window().windowHandle()
    # PySide may take an address for that of an object which is gone, and then returns that one.
    return handle if isinstance(handle, QWindow) else QGuiApplication.focusWindow()


def front_window() -> QWidget | None:
    """Return the window that takes the input now: the innermost open menu, the modal dialog, or the active window."""
    return QApplication.activePopupWidget() or QApplication.activeModalWidget() or QApplication.activeWindow()


def _click(
    window: QWindow,
    place: QPoint,
    button: Qt.MouseButton = LEFT,
    keys: Qt.KeyboardModifier = NONE,
    times: int = 1,
) -> None:
    for event in (QTest.mousePress, QTest.mouseRelease) * times:
        if _is_there(window):
            event(window, button, keys, _within(window, place))


def _is_there(window: QWindow) -> bool:
    return any(one is window for one in QGuiApplication.allWindows()) and window.isVisible()


def _bring_into_sight(widget: QWidget) -> None:
    around = widget.parentWidget()
    while around is not None and not widget.isWindow():
        if isinstance(around, QScrollArea):
            around.ensureWidgetVisible(widget)
        around = around.parentWidget()


def _place_in(widget: QWidget, draw: random.Random) -> QPoint:
    seen = widget.visibleRegion().boundingRect()
    if seen.isEmpty():
        return QPoint(0, 0)
    return QPoint(draw.randint(seen.left(), seen.right()), draw.randint(seen.top(), seen.bottom()))


def _mapped(widget: QWidget, place: QPoint) -> QPoint:
    return _within(widget.window(), widget.mapTo(widget.window(), place))


def _within(window: QWidget | QWindow, place: QPoint) -> QPoint:
    """Return the nearest place in a window, which may have become smaller meanwhile."""
    return QPoint(min(max(place.x(), 0), window.width() - 1), min(max(place.y(), 0), window.height() - 1))
