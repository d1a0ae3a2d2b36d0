"""Keeping the computer from going to sleep by itself, as long as a run trains.

The screen may go dark, and closing the lid sends a notebook to sleep all the same.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from PySide6.QtCore import QObject, QProcess

from studio.i18n import tr
from studio.ui.desktop import bus

if TYPE_CHECKING:
    from PySide6.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher

log = logging.getLogger(__name__)
APP = "Finetune Studio"


class Lock(Protocol):
    """Something that keeps the computer awake between `hold` and `release`; neither raises nor waits."""

    def hold(self) -> None:
        """Keep it awake."""

    def release(self) -> None:
        """Let it sleep."""


def system_lock(parent: QObject) -> Lock | None:
    """Return what keeps this system awake; None where we know nothing that does."""
    if sys.platform == "win32":
        return WindowsLock(ctypes.windll.kernel32)
    if sys.platform == "darwin":
        return ProcessLock("caffeinate", ["-i", "-w", str(os.getpid())], parent)
    return BusLock(_requests(), parent) if sys.platform.startswith("linux") else None


@dataclass(frozen=True)
class Request:
    """A method of D-Bus that keeps a computer awake: as long as its answer is held, or its connection is open."""

    system: bool
    service: str
    path: str
    interface: str
    arguments: tuple[str, ...]


def _requests() -> tuple[Request, ...]:
    """systemd-logind (its manual: org.freedesktop.login1), and where it is not there the desktop's screen saver."""
    why = tr("A run trains.")
    login, saver = "org.freedesktop.login1", "org.freedesktop.ScreenSaver"
    return (
        Request(True, login, "/org/freedesktop/login1", f"{login}.Manager", ("sleep:idle", APP, why, "block")),
        Request(False, saver, "/org/freedesktop/ScreenSaver", saver, (APP, why)),
    )


class BusLock(QObject):
    """Asks one service of D-Bus after the other, until one agrees.

    The answer of systemd-logind has a file descriptor, which is the lock: it ends as soon as the answer is dropped. The
    screen saver's lock ends with the connection, so each lock has a connection of its own.
    """

    def __init__(self, requests: tuple[Request, ...], parent: QObject) -> None:
        super().__init__(parent)
        self._requests = requests
        self._next = len(requests)
        self._bus: QDBusConnection | None = None
        self._watcher: QDBusPendingCallWatcher | None = None
        self._answer: QDBusMessage | None = None

    @property
    def held(self) -> bool:
        """Whether a service has agreed."""
        return self._answer is not None

    def hold(self) -> None:
        """Keep the computer awake, as soon as a service agrees."""
        if self._watcher is None and self._answer is None:
            self._next = 0
            self._ask()

    def release(self) -> None:
        """Let it sleep, also where no service has answered yet."""
        self._next = len(self._requests)
        self._drop()

    def _ask(self) -> None:
        """Ask the next service that can be reached."""
        from PySide6.QtDBus import QDBusMessage, QDBusPendingCallWatcher

        while self._next < len(self._requests):
            request = self._requests[self._next]
            self._next += 1
            self._drop()
            self._bus = bus.connect(system=request.system)
            if self._bus.isConnected():
                message = QDBusMessage.createMethodCall(request.service, request.path, request.interface, "Inhibit")
                message.setArguments(list(request.arguments))
                self._watcher = QDBusPendingCallWatcher(self._bus.asyncCall(message), self)
                self._watcher.finished.connect(self._answered)
                return
            log.info("The computer is not kept awake by %s: its bus is not there", request.service)
        log.info("Nothing on this desktop keeps the computer awake")

    def _answered(self, watcher: QDBusPendingCallWatcher) -> None:
        if watcher is not self._watcher:
            return  # let go before it answered
        answer = watcher.reply()
        if watcher.isError():
            log.info("The computer is not kept awake: %s", answer.errorMessage())
            self._ask()
        else:
            self._answer = answer

    def _drop(self) -> None:
        """End the lock, or the question for one."""
        self._answer = None
        if self._watcher is not None:
            self._watcher.deleteLater()
            self._watcher = None
        if self._bus is not None:
            bus.disconnect(self._bus)
            self._bus = None


class ProcessLock(QObject):
    """A program of the system that keeps it awake as long as it runs; it ends with this process in any case."""

    def __init__(self, program: str, arguments: list[str], parent: QObject) -> None:
        super().__init__(parent)
        self._process = QProcess(self)
        self._process.setProgram(program)
        self._process.setArguments(arguments)
        self._process.errorOccurred.connect(self._failed)
        self._wanted = False

    def hold(self) -> None:
        """Start the program."""
        self._wanted = True
        if self._process.state() == QProcess.ProcessState.NotRunning:
            self._process.start()

    def release(self) -> None:
        """End the program."""
        self._wanted = False
        if self._process.state() != QProcess.ProcessState.NotRunning:
            self._process.kill()
            self._process.waitForFinished(1000)  # it has nothing to do before it ends

    def _failed(self, _: QProcess.ProcessError) -> None:
        if self._wanted:
            log.info("The computer is not kept awake: %s", self._process.errorString())


class WindowsLock:
    """The execution state of this thread (Win32 API, SetThreadExecutionState).

    Args:
        kernel: kernel32.
    """

    CONTINUOUS, SYSTEM_REQUIRED = 0x80000000, 0x00000001

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def hold(self) -> None:
        """Say that the system is needed until further notice."""
        self._say(self.CONTINUOUS | self.SYSTEM_REQUIRED)

    def release(self) -> None:
        """Say that it is no longer needed."""
        self._say(self.CONTINUOUS)

    def _say(self, state: int) -> None:
        if not self._kernel.SetThreadExecutionState(ctypes.c_uint(state)):
            log.info("Windows did not take the execution state %#x", state)
