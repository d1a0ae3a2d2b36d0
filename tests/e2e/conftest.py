"""The window with the real controller and the real engine behind it, in folders of the test's own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.engine.models.starter import fetch_starter
from studio.ui import theme
from studio.ui.app import MainThreadCollector
from studio.ui.bridge import AppContext
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from studio.ui.theme import interface_font
from tests.e2e.screen import SIZE


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The starter model where the user has it; fetched once, as `finetune-studio starter` does."""
    monkeypatch.delenv("FINETUNE_STUDIO_HOME")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return fetch_starter()


@pytest.fixture
def window(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> Iterator[MainWindow]:
    """The window as `studio.ui.app` opens it, but empty: nothing is chosen yet."""
    settings = Settings(tmp_path / "settings.ini")
    settings.language = "en"
    settings.runs_root = tmp_path / "runs"
    qapp.setFont(interface_font())
    theme.install(qapp, "light")
    context = AppContext(settings)
    made = MainWindow(context)
    MainThreadCollector(made)
    qtbot.addWidget(made)
    with qtbot.waitExposed(made):
        made.showNormal()
    made.setGeometry(0, 0, *SIZE)  # as large as the screen on which it is looked at
    yield made
    context.cancel_all()
    assert context.join(120)
    gc.enable()
