"""Whether the user has told the desktop that nothing should move by itself. Qt does not say (6.11)."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QSettings

from studio.ui.desktop import bus

if TYPE_CHECKING:
    from PySide6.QtDBus import QDBusConnection, QDBusPendingCallWatcher

log = logging.getLogger(__name__)


def ask(answer: Callable[[bool], None], parent: QObject) -> None:
    """Call `answer` with True where the desktop asks for less motion, at once or later; elsewhere perhaps never."""
    if sys.platform == "win32":
        answer(not _windows_animates(ctypes.windll.user32))
    elif sys.platform == "darwin":
        file = Path.home() / "Library/Preferences/com.apple.universalaccess.plist"
        answer(QSettings(str(file), QSettings.Format.NativeFormat).value("reduceMotion") in (True, 1))
    else:
        PortalQuestion(answer, parent)


def _windows_animates(user: Any) -> bool:
    """Win32 API, SystemParametersInfo: SPI_GETCLIENTAREAANIMATION ("Show animations in Windows")."""
    animates = ctypes.c_int(1)
    user.SystemParametersInfoW(0x1042, 0, ctypes.byref(animates), 0)
    return bool(animates.value)


class PortalQuestion(QObject):
    """Reads one setting of the desktop portal after the other, until one asks for less motion.

    XDG Desktop Portal documentation, org.freedesktop.portal.Settings; the settings of GNOME and KDE are older than
    the common one.
    """

    SETTINGS = (
        ("org.freedesktop.appearance", "reduced-motion", "1"),
        ("org.gnome.desktop.interface", "enable-animations", "False"),
        ("org.kde.kdeglobals.KDE", "AnimationDurationFactor", "0"),
    )

    def __init__(self, answer: Callable[[bool], None], parent: QObject) -> None:
        super().__init__(parent)
        self._answer = answer
        self._left = list(self.SETTINGS)
        self._wanted = ""
        self._watcher: QDBusPendingCallWatcher | None = None
        self._bus: QDBusConnection | None = bus.connect(system=False)
        self._ask()

    def _ask(self) -> None:
        from PySide6.QtDBus import QDBusMessage, QDBusPendingCallWatcher

        if self._bus is None or not self._bus.isConnected() or not self._left:
            self._leave()
            return
        group, key, self._wanted = self._left.pop(0)
        name = "org.freedesktop.portal"
        message = QDBusMessage.createMethodCall(
            f"{name}.Desktop", "/org/freedesktop/portal/desktop", f"{name}.Settings", "ReadOne"
        )
        message.setArguments([group, key])
        self._watcher = QDBusPendingCallWatcher(self._bus.asyncCall(message), self)
        self._watcher.finished.connect(self._answered)

    def _answered(self, watcher: QDBusPendingCallWatcher) -> None:
        if watcher.isError():
            log.info("The desktop does not say whether motion is to be reduced: %s", watcher.reply().errorMessage())
        elif [str(one.variant()) for one in watcher.reply().arguments()] == [self._wanted]:
            self._answer(True)
            self._left.clear()
        self._ask()

    def _leave(self) -> None:
        if self._bus is not None:
            bus.disconnect(self._bus)
            self._bus = None
        self.deleteLater()
