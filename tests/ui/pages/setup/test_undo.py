"""What takes much away from the Setup page at once can be undone with Ctrl+Z."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QToolButton
from pytestqt.qtbot import QtBot

from studio.config import write_config
from studio.ui.main_window import MainWindow


@pytest.fixture
def filled(ready: MainWindow, tmp_path: Path, qtbot: QtBot) -> MainWindow:
    """Three files, of which the second has options of its own."""
    for name in ("b&c.csv", "d.jsonl"):
        (tmp_path / name).touch()
    ready.setup.data.add({"path": str(tmp_path / "b&c.csv"), "role": "general", "columns": {"prompt": "q"}})
    ready.setup.data.add({"path": str(tmp_path / "d.jsonl")})
    return ready


def press(window: MainWindow, qtbot: QtBot, *, again: bool = False) -> None:
    """Press Ctrl+Z, or Ctrl+Shift+Z, wherever the focus is."""
    window.activateWindow()
    qtbot.waitUntil(lambda: window.focusWidget() is not None)
    shift = Qt.KeyboardModifier.ShiftModifier if again else Qt.KeyboardModifier.NoModifier
    qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | shift)


def remove(window: MainWindow, place: int, qtbot: QtBot) -> None:
    source = window.setup.data.sources[place]
    name = f"Remove {Path(source.path).name}"
    button = next(one for one in source.findChildren(QToolButton) if one.accessibleName() == name)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_removed_file_comes_back_where_it_was_with_its_options(filled: MainWindow, qtbot: QtBot) -> None:
    before = filled.setup.tables()
    remove(filled, 1, qtbot)
    filled.setup.training.form.rows["seed"].editor.set_value(9)  # typed since then, and kept
    after = filled.setup.tables()
    assert len(after["data"]["sources"]) == 2
    assert filled.actions_by_name["undo"].text() == "&Undo: remove b&&c.csv"
    press(filled, qtbot)
    assert filled.setup.tables()["data"] == before["data"]
    assert filled.setup.tables()["training"]["seed"] == 9
    assert not filled.actions_by_name["undo"].isEnabled()
    press(filled, qtbot, again=True)
    assert filled.setup.tables() == after


def test_a_configuration_that_replaced_the_page_gives_it_back(filled: MainWindow, tmp_path: Path, qtbot: QtBot) -> None:
    before = filled.setup.tables()
    other = filled.setup.config()
    file = tmp_path / "config.toml"
    file.write_text(write_config(other).replace("seed = 0", "seed = 3"), encoding="utf-8")
    filled.go_to("runs")
    filled.context.configuration_requested.emit(file)
    assert filled.setup.tables()["training"]["seed"] == 3
    press(filled, qtbot)
    assert filled.setup.tables() == before


def test_undo_shows_the_page_that_it_changes(filled: MainWindow, qtbot: QtBot) -> None:
    remove(filled, 0, qtbot)
    filled.go_to("train")
    filled.actions_by_name["undo"].trigger()
    assert filled.page == "setup"
    assert len(filled.setup.data.sources) == 3
