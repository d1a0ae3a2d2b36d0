"""What moves in the window by itself, and whether it may: the one place that knows.

That is the text cursor, what Qt does with menus and lists, and a bar whose length is unknown (`ShareBar`). A curve
moves because its numbers do, and goes on.
"""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QApplication

from studio.ui import theme

OF_THE_DESKTOP = -1  # a flash time that is none of ours: Qt asks the desktop


class MotionSignals(QObject):
    """`changed` is emitted after motion was reduced, or allowed again."""

    changed = Signal()


@cache
def notifier() -> MotionSignals:
    """Return the one notifier of the process."""
    return MotionSignals()


class _Motion:
    """The present choice, and whether this desktop has effects at all."""

    reduced = False
    effects = False


def reduced() -> bool:
    """Return whether nothing may move by itself."""
    return _Motion.reduced


def reduce(on: bool) -> None:
    """Let nothing move by itself from now on, or allow it again."""
    if on == _Motion.reduced:
        return
    if on:
        _Motion.effects = QApplication.isEffectEnabled(Qt.UIEffect.UI_General)
    _Motion.reduced = on
    QApplication.setEffectEnabled(Qt.UIEffect.UI_General, _Motion.effects and not on)
    theme.application().styleHints().setCursorFlashTime(0 if on else OF_THE_DESKTOP)
    notifier().changed.emit()
