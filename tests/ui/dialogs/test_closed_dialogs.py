"""What ends after its dialog was closed is heard by nobody, and raises nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication, QDialog
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from studio.runner import laboratory
from studio.ui import theme
from studio.ui.dialogs.laboratory import Laboratory
from studio.ui.main_window import MainWindow
from tests.ui.fakes import FakeController


@pytest.fixture(autouse=True)
def _model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(laboratory, "make_model", lambda stream: tmp_path)


def hear_all(window: MainWindow, qtbot: QtBot) -> None:
    """Let everything happen that a closed dialog could still be told of, but for another theme."""
    window.context.run_state_changed.emit()
    window.context.progressed.emit()
    window.context.queue_changed.emit()
    qtbot.waitUntil(lambda: not window.context.busy, timeout=60_000)  # a library may be read for the first time
    window.context.tick()


def press(window: MainWindow, name: str) -> None:
    window.actions_by_name["laboratory"].trigger()
    window.findChildren(Laboratory)[-1].cards[name].start.click()


OPENERS: dict[str, Callable[[MainWindow], object]] = {
    "laboratory, one run": lambda window: press(window, "overflow"),
    "laboratory, comparison": lambda window: press(window, "precisions"),
    "methods": lambda window: window.setup.compare_methods(),
    "precisions": lambda window: window.setup.probe_precisions(),
    "x-ray": lambda window: window.setup.data.sources[0].open_xray(),
    "hub": lambda window: window.setup.data.ask_hub(),
    "queue": lambda window: window.actions_by_name["queue"].trigger(),
    "cluster": lambda window: window.actions_by_name["cluster"].trigger(),
}


@pytest.mark.parametrize("turns", [0, 2])
def test_every_dialog_may_be_closed_right_after_its_work_began(
    ready: MainWindow, controller: FakeController, qtbot: QtBot, turns: int
) -> None:
    for opener in OPENERS.values():
        opener(ready)
        dialogs = ready.findChildren(QDialog)
        assert dialogs
        for _ in range(turns):
            qtbot.wait(2)
        controller.running = False
        for dialog in dialogs:
            if isValid(dialog):  # an experiment that has started closes the laboratory itself
                dialog.close()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        assert not any(isValid(dialog) for dialog in dialogs)
        hear_all(ready, qtbot)
    theme.choose("dark")  # once, for all of them: it styles the whole window anew
    theme.choose("light")
