"""What keeps a computer awake is held and let go, and its failures are silent."""

from __future__ import annotations

import os
import select
import sys
from typing import Any

import pytest
from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.ui.desktop import awake
from studio.ui.desktop.awake import BusLock, ProcessLock, WindowsLock
from studio.ui.desktop.launcher import INTERFACE, LauncherProgress

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks a bus of Linux, or starts its programs")


def _login(bus: Any) -> Any:
    """A login manager whose lock is a pipe, as in systemd-logind."""
    from PySide6.QtDBus import QDBusConnection, QDBusUnixFileDescriptor, QDBusVirtualObject

    class Login(QDBusVirtualObject):
        pipe = -1
        asked: list[str] = []  # noqa: RUF012

        def introspect(self, path: str) -> str:
            return ""

        def handleMessage(self, message: Any, connection: Any) -> bool:
            self.asked = message.arguments()
            self.pipe, lock = os.pipe()
            connection.send(message.createReply([QDBusUnixFileDescriptor(lock)]))
            os.close(lock)
            return True

    login = Login()
    assert bus.registerService("org.freedesktop.login1")
    assert bus.registerVirtualObject("/org", login, QDBusConnection.VirtualObjectRegisterOption.SubPath)
    return login


def test_the_lock_of_the_login_manager_is_held_until_it_is_released(bus: Any, owner: QObject, qtbot: QtBot) -> None:
    login = _login(bus)
    lock = BusLock(awake._requests(), owner)
    lock.hold()
    qtbot.waitUntil(lambda: lock.held)
    assert login.asked == ["sleep:idle", "Finetune Studio", "A run trains.", "block"]
    assert not select.select([login.pipe], [], [], 0)[0]  # somebody holds the other end
    lock.release()
    qtbot.waitUntil(lambda: bool(select.select([login.pipe], [], [], 0)[0]))
    os.close(login.pipe)


def test_a_lock_that_is_released_before_the_answer_is_not_held(bus: Any, owner: QObject, qtbot: QtBot) -> None:
    login = _login(bus)
    lock = BusLock(awake._requests(), owner)
    lock.hold()
    lock.release()
    lock.hold()
    qtbot.waitUntil(lambda: lock.held)
    lock.release()
    qtbot.waitUntil(lambda: bool(select.select([login.pipe], [], [], 0)[0]))
    assert not lock.held
    os.close(login.pipe)


def test_without_a_service_that_agrees_nothing_is_held_and_the_log_says_so(
    bus: Any, owner: QObject, qtbot: QtBot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lock = BusLock(awake._requests(), owner)
    lock.hold()
    qtbot.waitUntil(lambda: "Nothing on this desktop" in caplog.text)
    assert not lock.held
    lock.release()


@pytest.mark.usefixtures("no_bus")
def test_without_a_bus_nothing_is_held(owner: QObject, qtbot: QtBot, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    lock = BusLock(awake._requests(), owner)
    lock.hold()
    qtbot.waitUntil(lambda: "Nothing on this desktop" in caplog.text)
    lock.release()


def test_a_program_runs_as_long_as_the_computer_is_needed(owner: QObject, qtbot: QtBot) -> None:
    lock = ProcessLock("tail", [f"--pid={os.getpid()}", "-f", os.devnull], owner)
    lock.hold()
    qtbot.waitUntil(lambda: lock._process.processId() > 0)
    lock.release()
    assert lock._process.processId() == 0


def test_a_program_that_is_not_there_is_no_error(
    owner: QObject, qtbot: QtBot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lock = ProcessLock("no-such-program", [], owner)
    lock.hold()
    qtbot.waitUntil(lambda: "not kept awake" in caplog.text)
    lock.release()


def test_windows_is_told_that_the_system_is_needed_and_that_it_is_not() -> None:
    class Kernel:
        said: list[int] = []  # noqa: RUF012

        def SetThreadExecutionState(self, state: Any) -> int:
            self.said.append(state.value)
            return 0  # refused

    lock = WindowsLock(Kernel())
    lock.hold()
    lock.release()
    assert Kernel.said == [0x80000001, 0x80000000]


def test_the_task_bar_hears_of_every_hundredth_and_of_the_end(bus: Any, qtbot: QtBot) -> None:
    from PySide6.QtCore import SLOT, Slot
    from PySide6.QtDBus import QDBusMessage

    heard = []

    class Dock(QObject):
        @Slot(QDBusMessage)
        def take(self, message: Any) -> None:
            heard.append(message.arguments())

    dock = Dock()
    launcher = LauncherProgress()
    assert bus.connect("", "", INTERFACE, "Update", dock, SLOT("take(QDBusMessage)"))
    for share in (0.501, 0.502, 0.75, None):
        launcher.show(share)
    qtbot.waitUntil(lambda: len(heard) == 3)
    launcher.close()
    assert heard[0][0] == "application://finetune-studio.desktop"


@pytest.mark.usefixtures("no_bus")
def test_a_task_bar_that_cannot_be_told_is_asked_once(qapp: QApplication, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    launcher = LauncherProgress()
    for share in (0.1, 0.2, 0.3):
        launcher.show(share)
    launcher.close()
    assert caplog.text.count("no progress in the task bar") == 1
