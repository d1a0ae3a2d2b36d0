"""The desktop hears of a run what its user wants it to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget
from pytestqt.qtbot import QtBot

from studio.events import RunFinished, RunPaused, RunResumed
from studio.runner.record import RunRecord
from studio.ui.bridge import AppContext
from studio.ui.desktop.presence import Presence, SystemTray
from tests.screenshots.scripted import scripted_events, scripted_record

FINISHED = RunFinished(
    status="finished", step=212, update=204, trainable_parameters=1, total_parameters=2, adapter_bytes=3, peak_memory=4,
    seconds=231.0,
)  # fmt: skip


class Fakes:
    """The tray, the lock and the task bar."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.awake: list[bool] = []
        self.shares: list[float | None] = []

    def show_message(self, title: str, words: str) -> None:
        self.messages.append((title, words))

    def hide(self) -> None:
        self.messages.append(("hidden", ""))

    def hold(self) -> None:
        self.awake.append(True)

    def release(self) -> None:
        self.awake.append(False)

    def show(self, share: float | None) -> None:
        if share != (self.shares or [None])[-1]:
            self.shares.append(share)

    def close(self) -> None:
        self.shares.append(None)


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


@pytest.fixture
def background(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> QWidget:
    """A window that is not in front."""
    window = QWidget()
    qtbot.addWidget(window)
    monkeypatch.setattr(window, "isActiveWindow", lambda: False)
    return window


@pytest.fixture
def presence(context: AppContext, background: QWidget, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> Presence:
    monkeypatch.setattr(QApplication, "alert", lambda window: fakes.messages.append(("alert", "")))
    return Presence(context, background, tray=fakes, lock=fakes, launcher=fakes)  # type: ignore[arg-type]


@pytest.fixture
def trains(context: AppContext, presence: Presence) -> RunRecord:
    """A run under way, in the middle."""
    context.live = scripted_record(scripted_events()[:-2])
    context.controller.running = True  # type: ignore[misc]
    context.run_state_changed.emit()
    return context.live


def _told(context: AppContext, *events: object) -> None:
    assert context.live is not None
    for event in events:
        context.live.apply(event)  # type: ignore[arg-type]
    context.controller.running = not context.live.state.ended  # type: ignore[misc]
    context.run_state_changed.emit()


def test_the_end_of_a_run_is_told_once_with_what_came_of_it(
    context: AppContext, trains: RunRecord, fakes: Fakes
) -> None:
    assert fakes.messages == []
    _told(context, FINISHED)
    context.run_state_changed.emit()
    assert [title for title, _ in fakes.messages] == ["alert", "The run has ended"]
    assert fakes.messages[1][1].startswith("Finished after 204 updates")


def test_a_run_in_trouble_asks_for_its_user_and_one_that_was_paused_does_not(
    context: AppContext, trains: RunRecord, fakes: Fakes
) -> None:
    _told(context, RunPaused(step=212))
    assert fakes.messages == []
    _told(context, RunResumed(step=212), RunPaused(step=212, because="divergence"))
    assert fakes.messages[-1][0] == "The run needs you"
    assert fakes.messages[-1][1].startswith("Paused after step 211")


def test_who_looks_at_the_window_is_not_told(
    context: AppContext, trains: RunRecord, fakes: Fakes, background: QWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "isActiveWindow", lambda: True)
    _told(context, FINISHED)
    assert fakes.messages == []


def test_the_computer_is_kept_awake_while_a_run_trains_and_not_while_it_is_paused(
    context: AppContext, trains: RunRecord, fakes: Fakes
) -> None:
    assert fakes.awake == [True]
    _told(context, RunPaused(step=212))
    assert fakes.awake == [True, False]
    _told(context, RunResumed(step=212))
    assert fakes.awake == [True, False, True]
    _told(context, FINISHED)
    assert fakes.awake == [True, False, True, False]


def test_the_task_bar_shows_the_share_of_the_updates_until_the_end(
    context: AppContext, trains: RunRecord, fakes: Fakes
) -> None:
    assert fakes.shares == [pytest.approx(203 / 300)]
    _told(context, FINISHED)
    assert fakes.shares[-1] is None


@pytest.mark.parametrize(
    ("setting", "silent"),
    [
        ("notify", lambda fakes: not fakes.messages),
        ("keep_awake", lambda fakes: fakes.awake[-1:] == [False]),
        ("show_progress", lambda fakes: fakes.shares[-1:] == [None]),
    ],
)
def test_each_can_be_switched_off(
    context: AppContext, trains: RunRecord, fakes: Fakes, setting: str, silent: Callable[[Fakes], bool]
) -> None:
    setattr(context.settings, setting, False)
    context.settings_changed.emit()
    assert silent(fakes)
    _told(context, FINISHED)
    assert silent(fakes)


def test_nothing_is_left_when_the_window_is_closed(presence: Presence, trains: RunRecord, fakes: Fakes) -> None:
    presence.close()
    assert fakes.awake[-1] is False
    assert fakes.shares[-1] is None
    assert fakes.messages[-1] == ("hidden", "")


def test_a_desktop_without_a_tray_is_no_error(background: QWidget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", lambda: False)
    tray = SystemTray(background)
    tray.show_message("a", "b")
    tray.hide()


@pytest.mark.qt_log_ignore("systemTrayWindowChanged", "does not support raise")
def test_a_click_on_the_message_brings_the_window_back(background: QWidget, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", lambda: True)
    monkeypatch.setattr(QSystemTrayIcon, "showMessage", lambda _, title, *__: shown.append(title))
    tray = SystemTray(background)
    tray.show_message("The run has ended", "b")
    assert shown == ["The run has ended"]
    assert tray._icon is not None
    tray._icon.messageClicked.emit()
    assert background.isVisible()
    assert not tray._icon.isVisible()
