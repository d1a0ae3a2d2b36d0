"""The self-test in the window: offered once, its picture and verdict, Cancel, and a run that stands in its way."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from studio.engine.control import Progress
from studio.errors import ModelError
from studio.runner import actions
from studio.runner import self_test as of_runner
from studio.runner.self_test import SelfTest
from studio.ui.dialogs import self_test
from studio.ui.dialogs.self_test import SelfTestDialog
from studio.ui.main_window import MainWindow
from studio.ui.self_test_picture import SelfTestPicture
from tests.records import stopped_record


def _found() -> SelfTest:
    record = stopped_record(*(3.0 / number for number in range(1, 9)))
    return SelfTest(record=record, passed=True, sentence="Training works here.", first=3.0, last=0.4)


def _open(window: MainWindow) -> SelfTestDialog:
    window.actions_by_name["self_test"].trigger()
    dialog = window.findChild(SelfTestDialog)
    assert isinstance(dialog, SelfTestDialog)
    return dialog


def test_the_first_window_offers_it_and_the_second_does_not(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "self_test", lambda _: _found())
    window.offer_self_test()
    assert "self-test" in window.banner.text
    assert window.banner.button is not None
    assert window.banner.button.text() == "Self-test …"
    qtbot.mouseClick(window.banner.button, Qt.MouseButton.LeftButton)
    assert window.banner.text == ""
    dialog = window.findChild(SelfTestDialog)
    assert isinstance(dialog, SelfTestDialog)
    qtbot.waitUntil(lambda: dialog.picture is not None)
    window.offer_self_test()
    assert window.banner.text == ""


def test_one_that_the_installation_has_made_is_not_offered(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [3.0 / number for number in range(1, 9)]
    monkeypatch.setattr(actions, "fetch_starter", lambda _: Path("starter"))
    monkeypatch.setattr(of_runner, "_train", lambda *_: stopped_record(*reversed(losses)))
    assert not of_runner.self_test().passed
    assert not of_runner.has_passed()
    monkeypatch.setattr(of_runner, "_train", lambda *_: stopped_record(*losses))
    assert of_runner.self_test().passed
    window.offer_self_test()
    assert window.banner.text == ""


def test_it_shows_verdict_and_losses(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "self_test", lambda _: _found())
    dialog = _open(window)
    qtbot.waitUntil(lambda: dialog.picture is not None)
    assert dialog.picture.verdict.text == "Training works here."
    assert len(dialog.picture.chart.raw.series) == 8
    assert dialog.progress.isHidden()
    assert dialog.again.isEnabled()


class ShownWindows(QObject):
    """Hears which windows are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # Qt's name
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
            self.names.append(type(watched).__name__)
        return False


def test_the_picture_shows_no_window_of_its_own(qapp: QApplication, qtbot: QtBot) -> None:
    """Its verdict once was one for a moment, beside the dialog."""
    shown = ShownWindows()
    qapp.installEventFilter(shown)
    qtbot.addWidget(SelfTestPicture(_found()))
    qapp.removeEventFilter(shown)
    assert shown.names == []


def test_it_can_be_given_up_and_done_again(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(progress: Progress) -> SelfTest:
        while True:
            progress("training", 3, 20)

    monkeypatch.setattr(self_test, "self_test", held)
    dialog = _open(window)
    qtbot.mouseClick(dialog.progress.cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.verdict.text == "Cancelled.")
    monkeypatch.setattr(self_test, "self_test", lambda _: _found())
    qtbot.mouseClick(dialog.again, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.picture is not None)


def test_why_it_could_not_be_done_is_said(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Progress) -> SelfTest:
        raise ModelError("The starter model could not be downloaded.")

    monkeypatch.setattr(self_test, "self_test", fails)
    dialog = _open(window)
    qtbot.waitUntil(lambda: dialog.verdict.level == "bad")
    assert dialog.verdict.text == "The starter model could not be downloaded."
    assert dialog.again.isEnabled()
