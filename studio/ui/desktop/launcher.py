"""Progress on the program's icon in the task bar, where the desktop shows it.

On Linux by the signal `com.canonical.Unity.LauncherEntry.Update` of the session bus, which the docks of Ubuntu, KDE and
others understand (Ubuntu wiki, "Unity/LauncherAPI"). Windows and macOS have other ways, which are not taken here.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from studio.ui.desktop import bus

if TYPE_CHECKING:
    from PySide6.QtDBus import QDBusConnection

log = logging.getLogger(__name__)
ENTRY = "application://finetune-studio.desktop"
PATH, INTERFACE = "/org/finetune_studio/launcher", "com.canonical.Unity.LauncherEntry"


class LauncherProgress:
    """Shows a share of the whole, in steps of a hundredth, or nothing."""

    def __init__(self) -> None:
        self._shown: float | None = None
        self._bus: QDBusConnection | None = None
        self._works = sys.platform.startswith("linux")

    def show(self, share: float | None) -> None:
        """Show a share (0 to 1); None takes the bar away."""
        share = None if share is None else round(min(max(share, 0.0), 1.0), 2)
        if not self._works or share == self._shown:
            return
        from PySide6.QtDBus import QDBusMessage

        self._shown = share
        self._bus = self._bus or bus.connect(system=False)
        message = QDBusMessage.createSignal(PATH, INTERFACE, "Update")
        message.setArguments([ENTRY, {"progress": share or 0.0, "progress-visible": share is not None}])
        if not self._bus.send(message):
            self._works = False
            log.info("There is no progress in the task bar: %s", self._bus.lastError().message() or "no session bus")

    def close(self) -> None:
        """Take the bar away, and leave the bus."""
        self.show(None)
        if self._bus is not None:
            bus.disconnect(self._bus)
            self._bus = None
