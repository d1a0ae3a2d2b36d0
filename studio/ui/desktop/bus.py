"""Connections to D-Bus. QtDBus is loaded with the first one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PySide6.QtDBus import QDBusConnection

_numbers = itertools.count()


def connect(*, system: bool) -> QDBusConnection:
    """Return a connection of its own to the system's or the session's bus; `isConnected` says whether there is one."""
    from PySide6.QtDBus import QDBusConnection

    kind = QDBusConnection.BusType.SystemBus if system else QDBusConnection.BusType.SessionBus
    return QDBusConnection.connectToBus(kind, f"finetune-studio-{next(_numbers)}")


def disconnect(connection: QDBusConnection) -> None:
    """Leave the bus."""
    from PySide6.QtDBus import QDBusConnection

    QDBusConnection.disconnectFromBus(connection.name())
