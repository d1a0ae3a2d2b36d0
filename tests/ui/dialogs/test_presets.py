"""A preset says what it changes, is applied as one step that Ctrl+Z takes back; own ones are kept in the dialog."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from studio.runner.presets import own_folder, own_presets
from studio.ui.dialogs import presets as dialog_module
from studio.ui.dialogs.presets import PresetsDialog
from studio.ui.main_window import MainWindow


@pytest.fixture
def dialog(ready: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PresetsDialog:
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path / "home"))
    ready.actions_by_name["presets"].trigger()
    found = ready.findChild(PresetsDialog)
    assert isinstance(found, PresetsDialog)
    qtbot.waitExposed(found)
    return found


def rows(dialog: PresetsDialog) -> list[tuple[str, ...]]:
    model = dialog.model
    return [tuple(model.item(row, column).text() for column in range(3)) for row in range(model.rowCount())]


def choose(dialog: PresetsDialog, title: str) -> None:
    (item,) = dialog.list.findItems(title, Qt.MatchFlag.MatchExactly)
    dialog.list.setCurrentItem(item)


def test_what_changes_is_told_before_it_is_applied(dialog: PresetsDialog, ready: MainWindow) -> None:
    choose(dialog, "New knowledge with rehearsal")
    assert rows(dialog) == [
        ("Data  ·  General rows", "–", "general-en.jsonl"),
        ("Data  ·  General share", "0 %", "20 %"),
        ("Method  ·  Rank", "16", "64"),
        ("Training  ·  Epochs", "1", "4"),
        ("Training  ·  Rows per update", "8 rows", "16 rows"),
        ("Training  ·  Learning rate", "2e-4", "1e-4"),
        ("Training  ·  Warm-up", "3 %", "5 %"),
    ]
    assert ready.setup.tables()["method"]["rank"] == 16
    assert "7 settings change" in dialog.verdict.text


def test_it_is_applied_as_one_step_that_is_taken_back(dialog: PresetsDialog, ready: MainWindow, qtbot: QtBot) -> None:
    before = ready.setup.tables()
    choose(dialog, "Careful")
    qtbot.keyClick(dialog.list, Qt.Key.Key_Return)
    after = ready.setup.tables()
    assert (after["training"]["learning_rate"], after["retention"]["stop_below"]) == (5e-5, 0.8)
    assert after["model"] == before["model"]
    assert ready.actions_by_name["undo"].text() == "&Undo: take the preset Careful"
    ready.actions_by_name["undo"].trigger()
    assert ready.setup.tables() == before
    assert not ready.actions_by_name["undo"].isEnabled()


def test_a_preset_that_changes_nothing_says_so(dialog: PresetsDialog, ready: MainWindow, qtbot: QtBot) -> None:
    choose(dialog, "Style and tone")
    dialog.use.click()
    ready.setup.choose_preset()
    again = ready.findChildren(PresetsDialog)[-1]
    choose(again, "Style and tone")
    assert rows(again) == []
    assert not again.use.isEnabled()
    assert again.verdict.text == "The settings are those of this preset already."


def test_another_method_is_named_and_its_settings_that_are_not_the_defaults(
    dialog: PresetsDialog, ready: MainWindow
) -> None:
    ready.setup.method.take("full")
    ready.setup.choose_preset()
    again = ready.findChildren(PresetsDialog)[-1]
    choose(again, "Style and tone")
    assert [row for row in rows(again) if row[0].startswith("Method")] == [
        ("Method  ·  Method", "Full fine-tuning", "LoRA"),
        ("Method  ·  Rank", "–", "8"),
    ]


def test_present_settings_are_kept_under_a_name_that_is_typed_over(
    dialog: PresetsDialog, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog.keep.click()
    line = dialog.list.findChild(QLineEdit)
    assert isinstance(line, QLineEdit)
    qtbot.keyClicks(line, "Mine")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: [one.title for one in own_presets()] == ["Mine"])
    assert dialog.chosen.title == "Mine"
    dialog.list.currentItem().setText("")
    assert dialog.list.currentItem().text() == "Mine"
    assert "at most 60 characters" in dialog.verdict.text
    monkeypatch.setattr(dialog_module, "ask", lambda *_: True)
    qtbot.keyClick(dialog.list, Qt.Key.Key_Delete)
    assert own_presets() == []
    assert not dialog.delete.isEnabled()


def test_a_damaged_preset_can_only_be_deleted(
    ready: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path / "home"))
    own_folder().mkdir(parents=True)
    (own_folder() / "bad.toml").write_text("[method")
    ready.setup.choose_preset()
    dialog = ready.findChild(PresetsDialog)
    assert isinstance(dialog, PresetsDialog)
    choose(dialog, "bad")
    assert (dialog.use.isEnabled(), dialog.rename.isEnabled(), dialog.delete.isEnabled()) == (False, False, True)
    assert "cannot be read" in dialog.verdict.text
