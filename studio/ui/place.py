"""Where the window is on its screen, and how large: within the area that is free, as it was left there. Its dialogs."""

from __future__ import annotations

import os

from PySide6.QtCore import QMargins, QRect, QSize, Qt
from PySide6.QtGui import QGuiApplication, QScreen
from PySide6.QtWidgets import QApplication, QDialog, QStyle, QWidget

from studio.ui import theme
from studio.ui.first_window import ACTIVATION_TOKEN
from studio.ui.settings import Settings

USUAL = QSize(1280, 800)


def restore_place(window: QWidget, settings: Settings) -> None:
    """Give the window the size and the place that it had on its last screen, or else the usual ones.

    A window that would be larger than the screen, its frame included, is maximised.
    """
    screens = {_key(screen): screen for screen in QGuiApplication.screens()}
    screen = screens.get(settings.screen, window.screen())
    room = screen.availableGeometry().marginsRemoved(_frame(window))
    window.setMinimumSize(QSize(theme.characters(110), theme.space(60)).boundedTo(room.size()))
    geometry = settings.geometry(_key(screen))
    if not geometry.isEmpty() and window.restoreGeometry(geometry):
        return
    window.setGeometry(_centred(USUAL.boundedTo(room.size()), room))
    if window.size() != USUAL:
        window.setWindowState(Qt.WindowState.WindowMaximized)


def remember_place(window: QWidget, settings: Settings) -> None:
    """Keep size and place for the next time on this screen."""
    settings.remember_geometry(_key(window.screen()), window.saveGeometry())


def bring_forward(window: QWidget, token: str = "") -> None:
    """Show a window in front of all others; where the desktop does not let it, its entry in the task bar lights up.

    Args:
        token: with which a window of Wayland may come to the front, empty where there is none.
    """
    if token:
        os.environ[ACTIVATION_TOKEN] = token
    window.setWindowState(window.windowState() & ~Qt.WindowState.WindowMinimized)
    window.show()
    window.raise_()
    window.activateWindow()
    os.environ.pop(ACTIVATION_TOKEN, None)
    QApplication.alert(window)


def resize_dialog(dialog: QWidget, characters: float, units: float | None = None) -> None:
    """Give a dialog a size in characters and in units of `theme.space`; the main window is the largest it can have.

    Without units it has the height that its words need, where Qt would give it two thirds of the screen at most.
    """
    height = dialog.sizeHint().height() if units is None else theme.space(units)
    wanted, window = QSize(theme.characters(characters), height), dialog.parentWidget()
    while window and (above := window.parentWidget()):  # of a dialog that another dialog opened too
        window = above
    dialog.resize(wanted.boundedTo(window.size()) if window else wanted)


def open_dialog(dialog: QDialog) -> None:
    """Open a dialog over its window. Once it is closed it is deleted, with the background work that it began."""
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()


def _key(screen: QScreen) -> str:
    """A screen by name, size and scale: what fits one need not fit it with another resolution."""
    size = screen.size()
    return f"{screen.name()} {size.width()}x{size.height()} {screen.devicePixelRatio():g}"


def _frame(window: QWidget) -> QMargins:
    """About what the window manager draws around a window; the true frame is only known once it is shown."""
    title = window.style().pixelMetric(QStyle.PixelMetric.PM_TitleBarHeight)
    return QMargins(theme.space(0.5), max(title, theme.space(5)), theme.space(0.5), theme.space(0.5))


def _centred(size: QSize, room: QRect) -> QRect:
    result = QRect(room.topLeft(), size)
    result.moveCenter(room.center())
    return result
