"""Opening the app again shows the Setup page as it was left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from studio.ui import app
from studio.ui.actions import PAGES
from studio.ui.bridge import AppContext
from studio.ui.first_paint import FirstPaint
from studio.ui.main_window import MainWindow
from studio.ui.settings import Settings
from tests.ui.fakes import FakeController, FakeEngine, FakeQueue, answered


@pytest.fixture
def left(tmp_path: Path) -> dict[str, Any]:
    """What the user has typed, in tables that differ from the defaults everywhere."""
    (tmp_path / "model").mkdir()
    for name in ("a.jsonl", "b.csv"):
        (tmp_path / name).touch()
    return {
        "model": {"path": str(tmp_path / "model"), "kind": "base"},
        "data": {
            "sources": [
                {"path": str(tmp_path / "a.jsonl"), "role": "general", "weight": 2.0},
                {"path": str(tmp_path / "b.csv"), "columns": {"prompt": "q", "completion": "a"}, "bad_rows": "skip"},
            ],
            "replay_ratio": 0.2,
            "max_length": 77,
        },
        "method": {"name": "lora", "rank": 4, "alpha": 12, "target_modules": ["q_proj"]},
        "precision": {"name": "fp16-mixed", "initial_scale": 128.0},
        "training": {"epochs": 3.0, "learning_rate": 5e-4, "seed": 7},
        "retention": {"measure": False},
        "checkpoints": {"keep": 5},
        "numerics": {"every": 3},
    }


def launch(qtbot: QtBot, settings: Settings) -> MainWindow:
    """Open the window as the app does, and wait until everything it asks on its own is answered."""
    window = MainWindow(AppContext(settings, FakeController(), FakeQueue()))  # type: ignore[arg-type]
    qtbot.addWidget(window)
    with qtbot.waitSignal(FirstPaint(window).done):  # as `main` waits
        window.show()
    app.fill(window)
    qtbot.waitUntil(lambda: set(window.pages) == set(PAGES) and answered(window), timeout=60_000)
    return window


def leave(qtbot: QtBot, window: MainWindow) -> None:
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible())
    assert window.context.join(5)


@pytest.mark.usefixtures("dressed", "engine")
def test_every_relaunch_shows_the_page_as_it_was_left(
    tmp_path: Path, qtbot: QtBot, engine: FakeEngine, left: dict[str, Any]
) -> None:
    file = tmp_path / "settings.ini"
    window = launch(qtbot, Settings(file))
    window.setup.set_tables(left)
    qtbot.waitUntil(lambda: answered(window))
    expected = window.setup.tables()
    assert expected["method"]["rank"] == 4
    leave(qtbot, window)
    for _ in range(3):
        window = launch(qtbot, Settings(file))
        assert window.setup.tables() == expected
        leave(qtbot, window)


@pytest.mark.usefixtures("dressed", "engine")
def test_a_window_that_is_closed_before_it_was_filled_keeps_the_draft(
    tmp_path: Path, qtbot: QtBot, left: dict[str, Any]
) -> None:
    settings = Settings(tmp_path / "settings.ini")
    settings.draft = left
    window = MainWindow(AppContext(settings, FakeController(), FakeQueue()))  # type: ignore[arg-type]
    qtbot.addWidget(window)
    with qtbot.waitExposed(window):
        window.show()
    qtbot.waitUntil(lambda: answered(window))
    leave(qtbot, window)
    assert settings.draft == left


@pytest.mark.usefixtures("dressed", "engine")
def test_what_was_typed_right_before_closing_is_kept(tmp_path: Path, qtbot: QtBot) -> None:
    settings = Settings(tmp_path / "settings.ini")
    window = launch(qtbot, settings)
    row = window.setup.method.form.rows["rank"]
    row.editor.set_value(64)
    window.close()
    assert Settings(tmp_path / "settings.ini").draft["method"]["rank"] == 64
    assert window.context.join(5)
