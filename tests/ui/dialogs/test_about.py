"""About: versions for a report and the licences of others, as text, read without torch and off the window's thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio import __version__, licences
from studio.ui import theme
from studio.ui.dialogs.about import About
from studio.ui.main_window import MainWindow

ROOT = Path(__file__).parents[3]


def opened(window: MainWindow, qtbot: QtBot) -> About:
    window.actions_by_name["about"].trigger()
    dialog = window.findChild(About)
    assert isinstance(dialog, About)
    qtbot.waitUntil(lambda: bool(dialog.versions.toPlainText()), timeout=30_000)
    return dialog


def test_the_versions_are_copied_as_they_are_shown(window: MainWindow, qtbot: QtBot) -> None:
    dialog = opened(window, qtbot)
    dialog.copy.click()
    rows = dict(line.split(maxsplit=1) for line in theme.application().clipboard().text().splitlines()[1:])
    assert {"Python", "PySide6", "torch", "transformers", "peft", "System"} <= set(rows)
    assert __version__ in theme.application().clipboard().text().splitlines()[0]


def test_the_licence_of_qt_is_there_with_its_text(window: MainWindow, qtbot: QtBot) -> None:
    dialog = opened(window, qtbot)
    dialog.choice.set_value("licences")
    names = [dialog.programs.item(row).text().split()[0] for row in range(dialog.programs.count())]
    dialog.programs.setCurrentRow(names.index("PySide6_Essentials"))
    assert "LGPL-3.0" in dialog.name.whole_text
    dialog.copy.click()
    text = theme.application().clipboard().text()
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in text
    assert "GNU GENERAL PUBLIC LICENSE" in text  # the LGPL adds to it and cannot be read without


def test_without_an_installation_one_sentence_says_so(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licences.components, "__defaults__", ("no-such-program",))
    assert opened(window, qtbot).versions.toPlainText().startswith("The licences are listed where the program")


def test_reading_all_of_it_imports_no_torch() -> None:
    code = "import sys; from studio import licences; licences.components(); licences.versions(); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
