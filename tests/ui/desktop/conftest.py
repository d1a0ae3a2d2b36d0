"""Buses of a test alone, and an owner for what asks on them."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication

from studio.ui.desktop import bus as desktop_bus


@pytest.fixture
def owner(qapp: QApplication) -> Iterator[QObject]:
    result = QObject()
    yield result
    result.deleteLater()


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch, qapp: QApplication) -> Iterator[Any]:
    """A bus of this test alone, as session and as system bus, on which the test puts its service."""
    from PySide6.QtDBus import QDBusConnection

    if shutil.which("dbus-daemon") is None:
        pytest.skip("there is no dbus-daemon")
    command = ["dbus-daemon", "--session", "--nofork", "--print-address"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout is not None
        address = daemon.stdout.readline().strip()
        _at(address, monkeypatch)
        yield QDBusConnection.connectToBus(address, address)
        QDBusConnection.disconnectFromBus(address)
        daemon.kill()


@pytest.fixture
def no_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither bus can be reached."""
    _at("unix:path=/nowhere", monkeypatch)


def _at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both buses be at an address; libdbus looks for the usual ones only once in a process."""
    from PySide6.QtDBus import QDBusConnection

    names = (f"{address} {number}" for number in itertools.count())
    monkeypatch.setattr(desktop_bus, "connect", lambda system: QDBusConnection.connectToBus(address, next(names)))
