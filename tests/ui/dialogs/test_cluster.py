"""The commands for several GPUs are shown, follow the size that is asked for, and are copied whole."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from studio.config import read_config
from studio.ui import theme
from studio.ui.dialogs.cluster import ClusterDialog
from studio.ui.main_window import MainWindow


@pytest.fixture
def dialog(ready: MainWindow, qtbot: QtBot) -> ClusterDialog:
    ready.actions_by_name["cluster"].trigger()
    found = ready.findChild(ClusterDialog)
    assert isinstance(found, ClusterDialog)
    qtbot.waitExposed(found)
    return found


def _type(qtbot: QtBot, dialog: ClusterDialog, key: str, text: str) -> None:
    line = dialog.size_form.rows[key].editor.main
    line.setFocus()
    line.selectAll()  # type: ignore[attr-defined]
    qtbot.keyClicks(line, text)


def test_both_commands_are_copied_with_the_size_that_was_asked_for(dialog: ClusterDialog, qtbot: QtBot) -> None:
    _type(qtbot, dialog, "nodes", "2")
    _type(qtbot, dialog, "gpus", "4")
    qtbot.mouseClick(dialog.copy_slurm, Qt.MouseButton.LeftButton)
    script = theme.application().clipboard().text()
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    assert "#SBATCH --nodes=2" in script
    assert "--nnodes=2 --nproc-per-node=4" in script
    qtbot.mouseClick(dialog.copy_line, Qt.MouseButton.LeftButton)
    assert theme.application().clipboard().text().startswith("torchrun --standalone --nproc-per-node=4 ")


def test_a_wrong_size_is_said_and_nothing_wrong_can_be_copied(dialog: ClusterDialog, qtbot: QtBot) -> None:
    _type(qtbot, dialog, "gpus", "0")
    assert dialog.problem.text.startswith("GPUs in each: ")
    assert not dialog.copy_slurm.isEnabled()
    _type(qtbot, dialog, "gpus", "8")
    assert dialog.copy_slurm.isEnabled()
    assert not dialog.problem.text


def test_the_line_names_the_file_that_the_configuration_is_saved_to(
    dialog: ClusterDialog, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my run.toml"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(file), ""))
    qtbot.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
    assert f"train '{file}' --runs" in dialog.line.toPlainText()
    assert read_config(file).method.name == "lora"


def test_an_incomplete_configuration_is_refused_with_the_reason(window: MainWindow) -> None:
    window.actions_by_name["cluster"].trigger()
    assert window.findChild(ClusterDialog) is None
    assert "data.sources" in window.banner.text


def test_the_plain_command_line_is_copied_with_one_key_and_trains_with_what_is_shown(
    ready: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path / "a home"))
    ready.actions_by_name["copy_line"].trigger()
    words = shlex.split(theme.application().clipboard().text())
    assert words[-4:] == ["train", words[-3], "--runs", str(ready.context.runs_root)]
    assert read_config(Path(words[-3])) == ready.setup.config()
    assert words[-3] in ready.banner.text


def test_a_line_for_an_incomplete_configuration_is_refused(window: MainWindow) -> None:
    theme.application().clipboard().setText("before")
    window.actions_by_name["copy_line"].trigger()
    assert "data.sources" in window.banner.text
    assert theme.application().clipboard().text() == "before"
