"""The window opens within the free area of its screen, and where it was left there."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, QRect, QSize, Qt
from PySide6.QtGui import QScreen
from PySide6.QtWidgets import QApplication, QDialog, QWidget
from pytestqt.qtbot import QtBot

from studio.ui.place import USUAL, remember_place, resize_dialog, restore_place
from studio.ui.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "settings.ini")


def opened(qtbot: QtBot, settings: Settings) -> QWidget:
    window = QWidget()
    qtbot.addWidget(window)
    restore_place(window, settings)
    return window


@pytest.mark.usefixtures("dressed")
@pytest.mark.parametrize("free", [(1280, 768), (1024, 640), (960, 540), (640, 400), (1280, 800)])
def test_on_a_small_screen_the_window_fills_what_is_free(
    qtbot: QtBot, settings: Settings, monkeypatch: pytest.MonkeyPatch, free: tuple[int, int]
) -> None:
    area = QRect(0, 32, *free)
    monkeypatch.setattr(QScreen, "availableGeometry", lambda _: area)
    window = opened(qtbot, settings)
    assert area.contains(window.geometry())
    assert area.height() - window.height() > 20  # there is room for a title
    assert window.windowState() == Qt.WindowState.WindowMaximized
    assert QSize(*free).boundedTo(window.minimumSize()) == window.minimumSize()


@pytest.mark.usefixtures("dressed")
def test_on_a_large_screen_it_has_its_usual_size_in_the_middle(
    qtbot: QtBot, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QScreen, "availableGeometry", lambda _: QRect(0, 0, 1920, 1080))
    window = opened(qtbot, settings)
    assert window.size() == USUAL
    assert window.windowState() == Qt.WindowState.WindowNoState
    assert abs(window.geometry().center().x() - 960) < 10


def test_each_screen_has_its_own_size(dressed: QApplication, qtbot: QtBot, settings: Settings) -> None:
    window = opened(qtbot, settings)
    window.setWindowState(Qt.WindowState.WindowNoState)
    window.resize(760, 500)
    remember_place(window, settings)
    assert opened(qtbot, settings).size() == QSize(760, 500)
    key = settings.screen
    assert dressed.primaryScreen().name() in key
    settings.remember_geometry("a screen that is not attached", QByteArray(bytes(80)))
    assert settings.geometry(key) == window.saveGeometry()
    assert opened(qtbot, settings).size() == QSize(760, 500)


def test_a_dialog_is_no_larger_than_its_window(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(700, 400)
    dialog = QDialog(window)
    resize_dialog(dialog, 300, 300)
    assert dialog.size() == QSize(700, 400)
