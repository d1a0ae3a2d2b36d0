"""What the desktop hears of the run of this window: that it needs its user, that the computer is needed, how far it is.

Each of the three has a setting that switches it off.
"""

from __future__ import annotations

import logging

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

from studio.i18n import tr
from studio.runner.state import RunState
from studio.ui import icons
from studio.ui.bridge import AppContext
from studio.ui.desktop.awake import Lock, system_lock
from studio.ui.desktop.launcher import LauncherProgress
from studio.ui.pages.train.run_words import ended_text, waiting_text
from studio.ui.place import bring_forward

log = logging.getLogger(__name__)
MILLISECONDS = 15_000


class SystemTray(QObject):
    """A message of the tray; its icon is there only as long as it has something to say."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._icon: QSystemTrayIcon | None = None

    def show_message(self, title: str, words: str) -> None:
        """Show a message where there is a tray; a click on it brings the window to the front."""
        if not QSystemTrayIcon.isSystemTrayAvailable():
            log.info("There is no tray for the message: %s", words)
            return
        if self._icon is None:
            self._icon = QSystemTrayIcon(icons.app_icon(), self)
            self._icon.setToolTip("Finetune Studio")
            self._icon.messageClicked.connect(self._open)
            self._icon.activated.connect(self._open)
        self._icon.show()
        self._icon.showMessage(title, words, icons.app_icon(), MILLISECONDS)

    def hide(self) -> None:
        """Take the icon away."""
        if self._icon is not None:
            self._icon.hide()

    def _open(self, *_: object) -> None:
        self.hide()
        bring_forward(self._window)


class Presence(QObject):
    """Follows the run that trains, until the window is closed.

    Args:
        lock: what keeps the computer awake, None where nothing does.
    """

    def __init__(
        self,
        context: AppContext,
        window: QWidget,
        *,
        tray: SystemTray | None = None,
        lock: Lock | None = None,
        launcher: LauncherProgress | None = None,
    ) -> None:
        super().__init__(window)
        self._context, self._window = context, window
        self._tray = tray or SystemTray(window)
        self._lock = lock or system_lock(self)
        self._launcher = launcher or LauncherProgress()
        self._told: tuple[object, ...] = ()
        self._holds = False
        context.run_state_changed.connect(self.look)
        context.settings_changed.connect(self.look)
        context.progressed.connect(self._show_progress)

    def look(self) -> None:
        """Take in how the run stands, and what the settings are."""
        self._keep_awake()
        self._show_progress()
        self._tell()

    def close(self) -> None:
        """Let the computer sleep, and take progress and icon away."""
        self._hold(False)
        self._launcher.close()
        self._tray.hide()

    def _keep_awake(self) -> None:
        """A run in a process of its own is waited for, too; a paused one needs nobody."""
        live, controller = self._context.live, self._context.controller
        waits = controller.paused or (live is not None and live.state.status == "paused")
        self._hold(self._context.settings.keep_awake and controller.running and not waits)

    def _hold(self, wanted: bool) -> None:
        if self._lock is None or wanted == self._holds:
            return
        self._holds = wanted
        if wanted:
            self._lock.hold()
        else:
            self._lock.release()

    def _show_progress(self) -> None:
        live = self._context.live
        shown = self._context.settings.show_progress and live is not None and self._context.controller.running
        done, total = live.state.share if shown and live is not None else (0, 0)
        self._launcher.show(done / total if shown and total else None)

    def _tell(self) -> None:
        """Tell once that a run ended, or waits because it is in trouble; whoever looks at the window sees it there."""
        live = self._context.live
        state = live.state if live is not None else RunState()
        news = (id(live), state.status, state.paused_because) if _needs_the_user(state) else ()
        if news == self._told:
            return
        self._told = news
        if not news or not self._context.settings.notify or self._window.isActiveWindow():
            return
        title = tr("The run needs you") if not state.ended else tr("The run has ended")
        words = ended_text(state) if state.ended else waiting_text(state)
        QApplication.alert(self._window)
        self._tray.show_message(title, words)


def _needs_the_user(state: RunState) -> bool:
    return state.ended or bool(state.paused_because)
