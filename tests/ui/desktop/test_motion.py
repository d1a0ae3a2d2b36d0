"""What the desktop says of motion is asked for without waiting."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from studio.ui.desktop.motion import PortalQuestion, _windows_animates

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks a bus of Linux")


def _portal(bus: Any, settings: dict[str, object]) -> Any:
    """A desktop portal with these settings; it refuses every other one."""
    from PySide6.QtDBus import QDBusConnection, QDBusVariant, QDBusVirtualObject

    class Portal(QDBusVirtualObject):
        asked: list[str] = []  # noqa: RUF012

        def introspect(self, path: str) -> str:
            return ""

        def handleMessage(self, message: Any, connection: Any) -> bool:
            _group, key = message.arguments()
            self.asked.append(key)
            if key in settings:
                connection.send(message.createReply(QDBusVariant(settings[key])))
            else:
                connection.send(message.createErrorReply("org.freedesktop.portal.Error.NotFound", "no such setting"))
            return True

    portal = Portal()
    portal.asked = []
    assert bus.registerService("org.freedesktop.portal.Desktop")
    assert bus.registerVirtualObject("/org", portal, QDBusConnection.VirtualObjectRegisterOption.SubPath)
    return portal


@needs_linux
@pytest.mark.parametrize(
    ("settings", "wanted", "asked"),
    [
        ({"reduced-motion": 1}, [True], 1),
        ({"reduced-motion": 0, "enable-animations": False}, [True], 2),
        ({"enable-animations": True, "AnimationDurationFactor": "0"}, [True], 3),
        ({"enable-animations": True, "AnimationDurationFactor": "1.5"}, [], 3),
        ({}, [], 3),
    ],
)
def test_a_desktop_of_linux_says_whether_motion_is_reduced(
    bus: Any, owner: QObject, qtbot: QtBot, settings: dict[str, object], wanted: list[bool], asked: int
) -> None:
    portal = _portal(bus, settings)
    answers: list[bool] = []
    question = PortalQuestion(answers.append, owner)
    assert answers == []
    with qtbot.waitSignal(question.destroyed):
        pass
    assert answers == wanted
    assert len(portal.asked) == asked


@needs_linux
@pytest.mark.usefixtures("no_bus")
def test_a_desktop_without_a_bus_says_nothing(owner: QObject, qtbot: QtBot) -> None:
    answers: list[bool] = []
    with qtbot.waitSignal(PortalQuestion(answers.append, owner).destroyed):
        pass
    assert answers == []


@pytest.mark.parametrize("animates", [0, 1])
def test_windows_is_asked_whether_it_shows_animations(animates: int) -> None:
    class User:
        def SystemParametersInfoW(self, what: int, _size: int, answer: Any, _flags: int) -> int:
            assert what == 0x1042
            ctypes.cast(answer, ctypes.POINTER(ctypes.c_int))[0] = animates
            return 1

    assert _windows_animates(User()) == bool(animates)
